"""A process dies before every step of a load and of a round, in Redis as in ClickHouse; the next one goes on.

A step is a call of a store, known by who makes it and by its statement or table. Whatever step a load or a round takes
that nobody has died before, its process dies there. A statement that is new, and that these histories never come to,
fails the test: then they need what leads to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis

from attribution import loader
from attribution.facts import QUERIES as ROUND_QUERIES
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.publication import Publication
from attribution.staging import QUERIES as LOAD_QUERIES
from attribution.warehouse import Warehouse
from tests.delivery import (
    PROGRAM,
    Died,
    deliver,
    differences,
    expected_after,
    now_ms,
    published,
    stored_outcome,
    visible,
)
from tests.histories import START, History, merged
from tests.test_histories import drawn
from tracker import redis_keys
from tracker.events import Clicked

HISTORIES = 20
NAMES = {text: name for name, text in {**ROUND_QUERIES, **LOAD_QUERIES}.items()}
STEPS = {name for name in NAMES.values() if name.startswith(("ledger_", "loader_", "quarantine_of_load"))}
"""The statements of rounds and loads, one a step at least."""
OF_EACH_TABLE = ("loader_store_facts", "truncate table {table:Identifier}")
NEW = "ffffffff-ffff-4fff-8fff-ffffffffffff"
DEATHS = 200  # of one load or round: more means that it does not get on


class Brittle:
    """A store whose process dies before every step that is not in `died` yet, and notes it there."""

    def __init__(self, store: Any, died: dict[str, None]) -> None:
        self._store = store
        self._died = died

    def __getattr__(self, name: str) -> Any:
        if name == "register_script":
            return self._register
        found = getattr(self._store, name)
        return self._mortal(name, found) if callable(found) else found

    def _register(self, script: str) -> Callable[..., Any]:
        return self._mortal("script", self._store.register_script(script))

    def _mortal(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **parameters: Any) -> Any:
            text = str(arguments[0]) if arguments else ""
            what = NAMES.get(text, text)
            table = f" {parameters['table']}" if what in OF_EACH_TABLE else ""
            caller = sys._getframe(1).f_code.co_name
            known = f"{what}{table}" if name in ("rows", "run") else f"{caller} {name} {what}".rstrip()
            if known not in self._died:
                self._died[known] = None
                raise Died
            return method(*arguments, **parameters)

        return step


@pytest.fixture
def journal_client(empty_redis_url: str) -> Any:
    client = redis.Redis.from_url(empty_redis_url)
    yield client
    client.close()


def until_done(work: Callable[[], object], after_death: Callable[[], None]) -> None:
    for _ in range(DEATHS):
        try:
            work()
            return
        except Died:
            after_death()
    pytest.fail(f"{DEATHS} processes died, and it is not done yet")


def test_a_process_dies_before_every_step(
    journal_client: redis.Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "FORGET_EVERY", 1)
    monkeypatch.setattr(loader, "KEEP_LOADS", 1)
    history: History = merged(drawn(HISTORIES))
    died: dict[str, None] = {}

    def load() -> None:
        mortal: Any = Brittle(warehouse, died)
        Loader(Brittle(journal_client, died), mortal, PROGRAM, now_ms).load_once()  # type: ignore[arg-type]

    def round() -> None:
        mortal: Any = Brittle(warehouse, died)
        publication = Publication(Brittle(journal_client, died))  # type: ignore[arg-type]
        run_round(mortal, PROGRAM, now_ms(), publication=publication)

    for number, batch in enumerate(history.batches, 1):
        deliver(journal_client, batch, 10)
        if number == 1:  # what nobody understands: its steps are the quarantine's
            journal_client.xadd(redis_keys.FACT_JOURNAL, {"facts": "nonsense", "n": 1})
            journal_client.hincrby(redis_keys.FACT_COUNTS, "accepted", 1)
        until_done(load, lambda: None)
        shown = (published(warehouse), visible(warehouse))

        def shows_no_half(shown: Any = shown) -> None:
            assert published(warehouse) != shown[0] or visible(warehouse) == shown[1], list(died)[-1]

        until_done(round, shows_no_half)
        until_done(round, lambda: None)
        assert differences(stored_outcome(warehouse), expected_after(history, number)) == []
        assert journal_client.hgetall(redis_keys.PROGRESS)[b"quarantined"] == b"1"
    # A load of clicks that are all new, and that nobody died in before: they are stored as they are.
    deliver(
        journal_client, [Clicked(click_id=NEW, clicked_at=START, visitor_id=NEW, partner_id="P", product="livechat")], 1
    )
    until_done(load, lambda: None)
    reached = {step.partition(" ")[0] for step in died}
    assert sorted(STEPS - reached) == [], "these steps are in no round and no load of these histories"
