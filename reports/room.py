"""The reports room: what every call and page of the app needs, wired once at start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import anyio
import anyio.to_thread
from redis.asyncio import Redis
from starlette.requests import Request

from attribution.client_records import ClientRecords
from attribution.client_stores import ClientStores
from attribution.warehouse import Warehouse, load_queries
from reports.remembered_rows import FOREVER_MS, NOW, REMEMBERED, SINCE, RememberedRows, partner_of
from tracker.directory import Directory
from tracker.program import Program
from tracker.settings import Settings
from tracker.tokens import Tokens

T = TypeVar("T")

QUERIES = load_queries(Path(__file__).parent / "queries")
MAX_QUERIES_AT_ONCE = 4  # queries use all cores; more at once only wait on each other


class AttributionState(Protocol):
    """What the app asks of attribution when it runs in the same process."""

    @property
    def is_ready(self) -> bool:
        """Whether loader and rounds are at work."""

    @property
    def is_waiting(self) -> bool:
        """Whether another process is at work on this program, so that this one may not be."""

    @property
    def last_error(self) -> str | None:
        """Why loading or attribution fails at the moment; None when both work."""

    async def rebuild(self) -> list[str]:
        """Rebuild what can be derived; one line per finished step. Raises Conflict and Unavailable."""


@dataclass(frozen=True, slots=True)
class Room:
    """The app's wiring. `now_ms` is the clock; `attribution` is None where it runs in another process."""

    settings: Settings
    program: Program
    redis: Redis
    warehouse: Warehouse
    tokens: Tokens
    directory: Directory
    client_stores: ClientStores
    secret: bytes
    attribution: AttributionState | None
    now_ms: Callable[[], int]
    queries_at_once: anyio.CapacityLimiter
    heavy_at_once: anyio.CapacityLimiter
    looks_at_once: anyio.CapacityLimiter
    remembered: RememberedRows
    is_reading: bool = False
    """Whether the request only reads, and reads of one round (whole_rounds.py): it may be given remembered rows."""

    @property
    def client_records(self) -> ClientRecords:
        """Clients' names and e-mails (R20)."""
        return ClientRecords(self.redis, self.client_stores, self.in_thread)

    async def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named query of reports/queries. The engine blocks, so it runs in a thread."""

        async def ask() -> list[dict[str, Any]]:
            return await self.in_thread(partial(self.warehouse.rows, QUERIES[query], **params))

        if self.is_reading and query in REMEMBERED:
            until = partial(self._next_moment, params) if NOW in params else None
            return await self.remembered.rows(query, params, ask, until)
        return await ask()

    async def look(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Rows of a named query that all readers wait for. It waits for none of theirs."""
        ask = partial(self.warehouse.rows, QUERIES[query], **params)
        return await anyio.to_thread.run_sync(ask, limiter=self.looks_at_once)

    async def of_partner(self, name: str, partner_id: str, work: Callable[[], T], now_ms: int) -> T:
        """The result of blocking work on the warehouse that is about one partner now, and is one of REMEMBERED by name.
        What the clock changes of it is seen up to SLIDING_SECONDS late."""

        async def ask() -> list[dict[str, Any]]:
            return [{"result": await self.in_thread(work)}]

        if not self.is_reading:
            return cast("T", (await ask())[0]["result"])
        rows = await self.remembered.rows(name, {"partner_id": partner_id, SINCE: now_ms}, ask)
        return cast("T", rows[0]["result"])

    async def _next_moment(self, params: Mapping[str, Any], _: list[dict[str, Any]], now_ms: int) -> int:
        """When the clock may next change what statements say of the partner of `params`, seen from a moment."""
        of = {"partner_id": partner_of(params), NOW: now_ms, "trial_days": self.program.trial_days_default}

        async def ask() -> list[dict[str, Any]]:
            return await self.in_thread(partial(self.warehouse.rows, QUERIES["next_moment"], **of))

        async def moment(rows: list[dict[str, Any]], _: int) -> int:
            return int(rows[0]["moment_ms"]) or FOREVER_MS

        return await moment(await self.remembered.rows("next_moment", of, ask, moment), now_ms)

    async def row(self, query: str, **params: Any) -> dict[str, Any] | None:
        """The only row of a named query, or None."""
        found = await self.rows(query, **params)
        return found[0] if found else None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """The result of blocking work on the warehouse."""
        return await anyio.to_thread.run_sync(work, limiter=self.queries_at_once)

    async def alone(self, work: Callable[[], T]) -> T:
        """The result of blocking work that reads the whole history: an audit, a what-if. One at a time; others wait."""
        return await anyio.to_thread.run_sync(work, limiter=self.heavy_at_once)


def room_of(request: Request) -> Room:
    """The room that a request is answered in."""
    found: Room = request.app.state.room
    return found
