"""What the sites have to tell Lasttouch, kept until it is told: an outbox in a database of the sites' own.

Nobody's signup fails, and no payment is forgotten, because Lasttouch is away: a fact is kept first, with its id and its
time, and then told. What it did not take is told again until it does. In a site of yours the row is written in the
transaction that makes the account or takes the money.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.example_sites.conversions import Conversions, Refused, TryAgain

MOST_WAITING = 10_000  # further facts are refused: somebody plays with the forms while Lasttouch is away
IDLE_SECONDS = 1.0
PER_ROUND = 100

_SCHEMA = """
create table if not exists calls (
    path text not null,
    id text not null,
    subject text not null,
    body text not null,
    told text not null default 'waiting',  -- then 'taken' or 'refused'
    answer text not null default '',
    tries integer not null default 0,
    primary key (path, id)
);
create index if not exists calls_by_subject on calls (subject);
create index if not exists calls_waiting on calls (told) where told = 'waiting';
"""

log = logging.getLogger("lasttouch.sites")


class OutboxFull(Exception):
    """Too much waits already."""


@dataclass(frozen=True, slots=True)
class Call:
    """One fact. `told` is `waiting`, `taken` or `refused`; `answer` is what came back, and why it was refused."""

    path: str
    id: str
    subject: str
    body: dict[str, Any]
    told: str
    answer: dict[str, Any]


class Outbox:
    """The facts of a SQLite file, and how they are told. Any thread may use it."""

    def __init__(self, file: Path, conversions: Conversions) -> None:
        self._file = file
        self._conversions = conversions
        with self._open() as database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_SCHEMA)

    def tell(self, path: str, call_id: str, subject: str, body: dict[str, Any]) -> Call:
        """Keep a fact about `subject`, and try to tell it at once. One that is known by its path and id stays as it
        is. Raises OutboxFull."""
        with self._open() as database:
            if self._count_waiting(database) >= MOST_WAITING:
                raise OutboxFull("too much waits to be told already")
            row = (path, call_id, subject, json.dumps(body))
            database.execute("insert or ignore into calls (path, id, subject, body) values (?, ?, ?, ?)", row)
        call = self._one(path, call_id)
        if call.told == "waiting":
            self._try(call)
        return self._one(path, call_id)

    def about(self, subject: str) -> list[Call]:
        """All facts about a subject, in the order in which they were kept."""
        return self._calls("where subject = ? order by rowid", subject)

    def tell_waiting(self) -> float:
        """Tell what waits, until something is not taken. Gives how many seconds to wait before the next time.

        What was tried least comes first, so that one fact that Lasttouch chokes on holds up no other.
        """
        for call in self._calls("where told = 'waiting' order by tries, rowid limit ?", PER_ROUND):
            if seconds := self._try(call):
                return seconds
        return IDLE_SECONDS

    def _try(self, call: Call) -> float:
        """Tell one fact. Gives the seconds to wait where it was not taken, else 0."""
        try:
            answer, told = self._conversions.tell(call.path, call.body), "taken"
        except TryAgain as later:
            log.warning("%s; told again in %.0f s", later, later.seconds)
            with self._open() as database:
                tried = "update calls set tries = tries + 1 where path = ? and id = ?"
                database.execute(tried, (call.path, call.id))
            return later.seconds
        except Refused as refused:
            log.error("refused for good: %s", refused)
            answer, told = {"why": str(refused), "fields": refused.fields}, "refused"
        with self._open() as database:
            row = (told, json.dumps(answer), call.path, call.id)
            database.execute("update calls set told = ?, answer = ? where path = ? and id = ?", row)
        return 0.0

    def _one(self, path: str, call_id: str) -> Call:
        return self._calls("where path = ? and id = ?", path, call_id)[0]

    def _calls(self, which: str, *values: Any) -> list[Call]:
        with self._open() as database:
            rows = database.execute(f"select path, id, subject, body, told, answer from calls {which}", values)
            return [
                Call(path, call_id, subject, json.loads(body), told, json.loads(answer or "{}"))
                for path, call_id, subject, body, told, answer in rows
            ]

    def _count_waiting(self, database: sqlite3.Connection) -> int:
        return int(database.execute("select count(*) from calls where told = 'waiting'").fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection, and one transaction on it."""
        with closing(sqlite3.connect(self._file, timeout=10)) as database, database:
            yield database
