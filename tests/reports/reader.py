"""A room on real stores, what it answers from what it remembers, and what ClickHouse says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from attribution.facts import read_published, read_standings
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.publication import Publication
from attribution.warehouse import Warehouse
from reports.app import create_app
from reports.remembered_rows import REMEMBERED
from reports.room import QUERIES, Room
from reports.whole_rounds import of_one_round
from tests.attribution.fact_writer import AnyFact
from tests.delivery import deliver
from tests.histories import START
from tracker.program import DAY_MS, Program
from tracker.settings import Settings
from tracker.tokens import Tokens

PROGRAM = Program()
NOW = START + 300 * DAY_MS
PERIOD = {"from_ms": START - DAY_MS, "to_ms": NOW}

VALUES: dict[str, Any] = {
    **PERIOD, "now_ms": NOW, "since_ms": NOW - 200 * DAY_MS, "trial_days": 14, "product": "", "program": "affiliate",
    "billing_cycle": "", "by_day": 1, "by_campaign": 1, "referred": 0, "license_id": "", "payment_id": "",
    "entry_id": "", "tier": 0, "before_ms": NOW, "before_id": "", "most": 50,
    "ranges": [[0, 10**6]], "by_tags": 1,
}  # fmt: skip
"""What the statements are asked with; times are the histories'."""
OTHER = "first_tier_percent"
"""The one of REMEMBERED that is no statement of queries/."""
STATEMENTS = tuple(sorted(REMEMBERED - {OTHER, "next_moment"}))


def params_of(query: str, partner_id: str, now_ms: int) -> dict[str, Any]:
    values = {"partner_id": partner_id, "partner_ids": [partner_id], **VALUES, "now_ms": now_ms}
    return {name: value for name, value in values.items() if f"{{{name}:" in QUERIES[query]}


@dataclass
class Reader:
    """A room on real stores, and what it is told of them by a loader and rounds."""

    runner: asyncio.Runner
    room: Room
    client: redis.Redis
    warehouse: Warehouse
    loader: Loader
    now_ms: int = NOW

    def arrive(self, *facts: AnyFact) -> None:
        deliver(self.client, facts, 3)

    def load(self) -> None:
        while self.loader.load_once() is not None:
            pass

    def round(self) -> None:
        run_round(self.warehouse, PROGRAM, NOW, publication=Publication(self.client))

    async def answers(self, room: Room, partner_id: str, queries: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for query in queries:
            if query == OTHER:
                found[query] = await room.of_partner(query, partner_id, partial(self._percent, partner_id), NOW)
            else:
                found[query] = await room.rows(query, **params_of(query, partner_id, self.now_ms))
        return found

    def _percent(self, partner_id: str) -> int | None:
        through_load = read_published(self.warehouse).through_load
        known = read_standings(self.warehouse, [partner_id], through_load).get(partner_id)
        return None if known is None else known.percent_at(1, NOW, PROGRAM)

    def wrong(self, partners: tuple[str, ...], queries: tuple[str, ...]) -> list[str]:
        """Where what is remembered differs from what ClickHouse says."""

        async def compare() -> list[str]:
            found = []
            for partner_id in partners:
                told = await of_one_round(
                    self.room, partner_id, lambda room, name=partner_id: self.answers(room, name, queries)
                )
                fresh = await self.answers(self.room, partner_id, queries)
                found += [
                    f"{query} of {partner_id}: {told[query]} is remembered, {fresh[query]} is right"
                    for query in queries
                    if sorted(map(str, _rows(told[query]))) != sorted(map(str, _rows(fresh[query])))
                ]
            return found

        return self.runner.run(compare())


def _rows(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]


@contextmanager
def reading(redis_url: str, warehouse: Warehouse, folder: Path) -> Iterator[Reader]:
    with asyncio.Runner() as runner, redis.Redis.from_url(redis_url) as client:
        connected = redis.asyncio.Redis.from_url(redis_url)

        async def opened() -> Room:
            settings, tokens = Settings(data=folder, redis_url=redis_url), Tokens(connected, "")
            made = create_app(settings, PROGRAM, connected, warehouse, tokens, b"", None, lambda: NOW)
            room: Room = made.state.room
            room.remembered._clock = lambda: 0.0  # nothing grows old by itself
            return room

        try:
            yield Reader(
                runner, runner.run(opened()), client, warehouse, Loader(client, warehouse, PROGRAM, lambda: NOW)
            )
        finally:
            runner.run(connected.aclose())
