"""The process of attribution: its stores, its service, and the health of both when it runs alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from attribution.fence import FencedWarehouse, fenced
from attribution.lease import Lease
from attribution.publication import Publication
from attribution.rebuild import Progress, rebuild_click_days, rebuild_derived, rebuild_redis
from attribution.service import STOP_SECONDS, AttributionService
from attribution.warehouse import Warehouse
from tracker.errors import Conflict, Unavailable
from tracker.program import Program, load_program
from tracker.secret import load_secret
from tracker.serving import LateApp
from tracker.settings import Settings

logger = logging.getLogger(__name__)

STORES_WITHIN_SECONDS = 60.0
REDIS_TIMEOUT_SECONDS = 10.0
REBUILD_TIMEOUT_SECONDS = 60.0  # one answer of Redis during a rebuild

WAITING = "another process attributes; this one takes over when it ends"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Stores:
    """The open stores of a process, and the program's secret that Redis keeps."""

    redis: Redis
    warehouse: Warehouse
    secret: bytes


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Redis and ClickHouse, waited for; the schema is up to date. Raises RedisError or Unavailable in the end."""
    redis = Redis.from_url(settings.effective_redis_url, socket_timeout=REDIS_TIMEOUT_SECONDS)
    try:
        secret = await _patiently("Redis", lambda: load_secret(redis, settings.data))
        opening = partial(Warehouse.open, settings.effective_clickhouse_url)
        warehouse = await _patiently("ClickHouse", lambda: asyncio.to_thread(opening))
        try:
            await _patiently("ClickHouse", lambda: asyncio.to_thread(warehouse.migrate))
            yield Stores(redis, warehouse, secret)
        finally:
            await asyncio.to_thread(warehouse.close)
    finally:
        await redis.aclose()


class RunningAttribution:
    """Attribution at work in this process, which can pause for a rebuild. `start` it, and `stop` it in the end."""

    def __init__(self, settings: Settings, program: Program, warehouse: Warehouse) -> None:
        self._settings = settings
        self._program = program
        self._warehouse = warehouse
        self._lease = Lease(settings)
        self._service = AttributionService(settings, program, warehouse, self._lease)
        self._rebuilding = asyncio.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether the stores were reached and facts are loaded; false during a rebuild."""
        return self._service.is_ready

    @property
    def is_waiting(self) -> bool:
        """Whether another process is at work on this program, so that this one may not be."""
        return not self._lease.is_held and self._lease.holder is not None

    @property
    def last_error(self) -> str | None:
        """Why loading or attribution fails at the moment; None when both work."""
        if self.is_waiting:
            return f"{self._lease.holder} is at work on this program"
        return self._service.last_error or self._lease.last_error

    def start(self) -> None:
        """Returns at once."""
        self._lease.start()
        self._service.start()

    def stop(self) -> None:
        """Finish what was begun. What waits stays in the journal."""
        if self._service.stop():
            self._lease.release()
        else:
            logger.warning("attribution did not stop within %.0f s; it is left to end with the process", STOP_SECONDS)

    async def rebuild(self) -> list[str]:
        """Rebuild Redis and the derived tables while loading and rounds stand still; one line per finished step.

        Raises Conflict while another rebuild is under way or another process is at work, and Unavailable when a store
        does not answer.
        """
        if self._rebuilding.locked():
            raise Conflict("a rebuild is under way already")
        if not self._lease.is_held:
            raise Conflict("another process is at work on this program: ask that one, or end it first")
        async with self._rebuilding:
            while not await asyncio.to_thread(self._service.stop):
                logger.info("the rebuild waits for the step of attribution that is under way")
            steps: list[str] = []
            try:
                held = self._settings, self._program, self._warehouse, self._lease
                work = partial(rebuild_everything, *held, steps.append)
                await asyncio.to_thread(work)
            finally:
                self._service = AttributionService(self._settings, self._program, self._warehouse, self._lease)
                self._service.start()
            return steps


def rebuild_everything(
    settings: Settings, program: Program, warehouse: Warehouse, lease: Lease, progress: Progress
) -> None:
    """Rebuild what can be derived, in Redis and in ClickHouse. No attribution may run meanwhile: it ends with LeaseLost
    where the lease is gone, as after a pause of this process."""
    warehouse = FencedWarehouse(warehouse, lease.require)
    warehouse.end_leftovers()
    client = SyncRedis.from_url(settings.effective_redis_url, socket_timeout=REBUILD_TIMEOUT_SECONDS)
    try:
        now_ms = time.time_ns() // 1_000_000
        scripts = fenced(lease)
        rebuild_click_days(warehouse, progress)  # first: what is rebuilt next tells readers to forget
        rebuild_derived(warehouse, program, now_ms, progress, Publication(client, scripts))
        rebuild_redis(client, warehouse, program, now_ms, progress, scripts)
    finally:
        client.close()


@asynccontextmanager
async def run_attribution(settings: Settings, program: Program, stores: Stores) -> AsyncIterator[RunningAttribution]:
    """Attribution at work, for the length of the context."""
    attribution = RunningAttribution(settings, program, stores.warehouse)
    attribution.start()
    try:
        yield attribution
    finally:
        await asyncio.to_thread(attribution.stop)


def attribution_app(settings: Settings) -> LateApp:
    """Attribution alone, as an app that answers health checks."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Starlette]:
        program = load_program(settings.program_path)
        async with open_stores(settings) as stores, run_attribution(settings, program, stores) as attribution:
            yield _health_app(attribution)

    return LateApp(opened)


def readiness(attribution: RunningAttribution) -> JSONResponse:
    """`GET /health/ready` of attribution alone."""
    if attribution.is_ready:
        return JSONResponse({"status": "ready"})
    waiting = {"waiting": WAITING} if attribution.is_waiting else {}
    return JSONResponse({"status": "not ready", "missing": ["attribution"], **waiting}, 503, {"Retry-After": "1"})


def _health_app(attribution: RunningAttribution) -> Starlette:
    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        return readiness(attribution)

    return Starlette(routes=[Route("/health/live", live), Route("/health/ready", ready)])


async def _patiently(store: str, connect: Callable[[], Awaitable[Result]]) -> Result:
    """The result of `connect`, tried again while the store is away, up to STORES_WITHIN_SECONDS."""
    deadline = time.monotonic() + STORES_WITHIN_SECONDS
    while True:
        try:
            return await connect()
        except (RedisError, OSError, Unavailable) as error:
            if time.monotonic() > deadline:
                raise
            logger.warning("waiting for %s: %s", store, error)
        await asyncio.sleep(1)
