"""Reads journal entries into rows for ClickHouse, and sets aside, with the reason, what cannot be understood.

Pure: entries in, rows out.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from attribution.journal_lines import CLIENT_TABLES, are_clicks, check_click, client_record, directory_entry, fact_type
from attribution.journal_streams import Entry, entry_order
from tracker import redis_keys


class Piece(NamedTuple):
    """Consecutive lines of one field of an entry, without the last line feed. `line_count`: how many."""

    entry: Entry
    field: str
    first_line: int
    data: bytes
    line_count: int = 1

    def lines(self) -> list[Piece]:
        """The same, a line a piece."""
        parts = self.data.split(b"\n")
        return [Piece(self.entry, self.field, self.first_line + i, part) for i, part in enumerate(parts)]


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that were not understood, and the number of accepted facts that they stand for."""

    piece: Piece
    reason: str
    facts: int

    @property
    def quarantine_id(self) -> str:
        """The same whenever the same bytes of the same entry are read again."""
        where = f"{self.piece.entry.stream} {self.piece.entry.entry_id} {self.piece.field} {self.piece.first_line}"
        return hashlib.blake2b(where.encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class Incoming:
    """What a load's entries hold. Fact pieces are single lines; click pieces may be many."""

    clicks: list[Piece] = field(default_factory=list)
    facts: defaultdict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    """Type of fact → its rows."""
    entries: list[tuple[str, str, str, int]] = field(default_factory=list)
    """Directory changes: kind, key, value, written_at."""
    clients: defaultdict[tuple[str, str], dict[tuple[str, ...], tuple[str | int, ...]]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """Stream and type of clients' records → whose it is → the columns of its table, and its version; the newest."""
    refused: list[Refused] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    """Stream → facts, as the entries count them."""
    replayed: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Quarantine id → the stream and facts that came back from the quarantine."""


def read_entries(entries: Iterable[Entry], open_replays: Mapping[str, int]) -> Incoming:
    """All rows of `entries`. `open_replays`: quarantine ids that may come back → the facts that they stand for."""
    incoming = Incoming()
    for entry in entries:
        count = _count(entry)
        if b"replays" in entry.fields:
            quarantine_id = entry.fields[b"replays"].decode(errors="replace")
            if quarantine_id not in open_replays or quarantine_id in incoming.replayed:
                continue  # it came back before: the rest of a replay that was done twice
            count = open_replays[quarantine_id]
            incoming.replayed[quarantine_id] = (entry.stream, count)
        _read_entry(entry, count, incoming)
    return incoming


def _count(entry: Entry) -> int | None:
    """How many facts were accepted with an entry; None when it does not say."""
    text = entry.fields.get(b"n", b"")
    return int(text) if text.isdigit() else None


def _read_entry(entry: Entry, count: int | None, incoming: Incoming) -> None:
    fields = entry.fields
    if b"clicks" in fields and entry.stream != redis_keys.FACT_JOURNAL:
        lines = fields[b"clicks"]
        if are_clicks(lines, count):
            incoming.received[entry.stream] += count or 0
            if count:
                incoming.clicks.append(Piece(entry, "clicks", 0, lines[:-1], count))
        else:
            _read_counted(entry, "clicks", count, incoming, _read_click)
    elif entry.stream == redis_keys.FACT_JOURNAL and (b"facts" in fields or b"entries" in fields):
        if b"facts" in fields:
            _read_counted(entry, "facts", count, incoming, _read_fact)
        if b"entries" in fields:
            _read_uncounted(entry, "entries", incoming, _read_directory_entry)
    elif b"clients" in fields:
        _read_uncounted(entry, "clients", incoming, _read_client)
    else:
        incoming.received[entry.stream] += count or 0
        found = b"\n".join(name + b"=" + value for name, value in fields.items())
        incoming.refused.append(Refused(Piece(entry, "", 0, found), "the entry has no known field", count or 0))


LineReader = Callable[[Piece, Incoming], None]
"""Puts one line's row among the incoming ones; ValueError with the reason when it cannot be understood."""


def _read_counted(entry: Entry, name: str, count: int | None, incoming: Incoming, read: LineReader) -> None:
    """Read the lines of a field whose facts are counted. What is refused stands for all that is not readable, so
    that nothing that was accepted goes missing even when an entry does not hold what it counts."""
    pieces = _lines_of(entry, name)
    trial = Incoming()
    for piece in pieces:
        _read_line(piece, trial, read)
    readable = len(pieces) - len(trial.refused)
    count = len(pieces) if count is None else count
    incoming.received[entry.stream] += count
    if readable > count:
        whole = Piece(entry, name, 0, entry.fields[name.encode()])
        incoming.refused.append(Refused(whole, f"the entry counts {count} facts and holds {readable}", count))
        return
    incoming.clicks += trial.clicks
    for kind, rows in trial.facts.items():
        incoming.facts[kind] += rows
    rest = count - readable
    for refused in trial.refused:
        incoming.refused.append(Refused(refused.piece, refused.reason, min(rest, 1)))
        rest -= min(rest, 1)
    if rest:
        reason = f"the entry counts {count} facts and holds {len(pieces)}"
        incoming.refused.append(Refused(Piece(entry, name, len(pieces), b""), reason, rest))


def _read_uncounted(entry: Entry, name: str, incoming: Incoming, read: LineReader) -> None:
    for piece in _lines_of(entry, name):
        _read_line(piece, incoming, read)


def _read_line(piece: Piece, incoming: Incoming, read: LineReader) -> None:
    try:
        read(piece, incoming)
    except ValueError as error:
        incoming.refused.append(Refused(piece, str(error), 0))


def _lines_of(entry: Entry, name: str) -> list[Piece]:
    data = entry.fields[name.encode()].removesuffix(b"\n")
    return Piece(entry, name, 0, data).lines() if data else []


def _read_click(piece: Piece, incoming: Incoming) -> None:
    check_click(piece.data)
    incoming.clicks.append(piece)


def _read_fact(piece: Piece, incoming: Incoming) -> None:
    incoming.facts[fact_type(piece.data)].append(piece)


def _read_directory_entry(piece: Piece, incoming: Incoming) -> None:
    incoming.entries.append(directory_entry(piece.data))


def _read_client(piece: Piece, incoming: Incoming) -> None:
    kind, row = client_record(piece.data, piece.entry.stream)
    milliseconds, sequence = entry_order(piece.entry.entry_id)
    version = (milliseconds << 20) + min(sequence, 2**20 - 1)
    incoming.clients[piece.entry.stream, kind][row[: CLIENT_TABLES[kind].key_columns]] = (*row, version)
