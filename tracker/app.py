"""The tracker's app: routes, limits and start-up as one readable table.

Redirects are the outermost branch and reach no router: everything that is not one of the few fixed addresses below is
a link.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tracker.api import CALLS, REDIS_SECONDS, ConversionsApi
from tracker.claims import Claims
from tracker.click_intake import ClickIntake
from tracker.client_address import Clients
from tracker.countries import open_countries
from tracker.data_folder import DataFolder
from tracker.directory import Directory
from tracker.errors import Unavailable
from tracker.fast_lane import FastLane
from tracker.imports import Importer
from tracker.intake import Intake
from tracker.journal import Journal
from tracker.linker import LinkerScript, is_linker
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.problems import PROBLEM_HANDLERS
from tracker.program import Program
from tracker.redirect import RedirectApp
from tracker.secret import load_secret
from tracker.settings import Settings
from tracker.snapshot import Snapshot
from tracker.spool import Spool
from tracker.tokens import Tokens
from tracker.touch import Touch
from tracker.user_agent import warm_up

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FIXED_PATHS = frozenset(
    {"/touch", "/touch/stamp", "/health/live", "/health/ready", "/metrics", "/robots.txt", "/favicon.ico"}
)


def is_link(path: str) -> bool:
    """Whether an address is looked up as a link: all are but the few of the tracker's own."""
    return path not in FIXED_PATHS and not path.startswith("/v1/") and not is_linker(path)


def now_ms() -> int:
    """The clock, at the edge: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class TrackerApp:
    """One tracker worker as an ASGI app. `worker` names it in metrics and logs.

    Nothing connects before the server's start-up; then everything below is made, once.
    """

    def __init__(self, settings: Settings, program: Program, worker: str) -> None:
        self._settings = settings
        self._program = program
        self._metrics = Metrics(worker)
        self._redirect: RedirectApp
        self.lane: FastLane | None = None
        """What fast_protocol.py answers usual redirects with, once the app has started."""
        self._links: Links
        self._fixed = Starlette(lifespan=self._lifespan, exception_handlers=PROBLEM_HANDLERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if is_link(path):
                await self._redirect(scope, receive, send)
                return
            if path in CALLS or path == "/v1/import":
                send = self._counted(path, send)
        await self._fixed(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        settings, program = self._settings, self._program
        warm_up()
        # The directory is followed without time limits of the client's: its reader has its own (links.py), and a
        # silent reconnect would hide that changes may have been missed.
        directory_redis = Redis.from_url(settings.effective_redis_url, retry=Retry(NoBackoff(), 0))
        api_redis = Redis.from_url(
            settings.effective_redis_url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=1.0,
            # Once more on a new connection where the old one was cut, or leads to a Redis that is a replica by now.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            retry_on_error=[ReadOnlyError],
        )
        secret = await load_secret(api_redis, settings.data)
        admin_token, _ = DataFolder(settings.data).admin_token(settings)
        spool = Spool(settings.spool, settings.spool_bytes)
        bound = settings.journal_bound
        journal = Journal(settings.effective_redis_url, spool, program.window_ms, now_ms, self._metrics, bound=bound)
        self._links = Links(directory_redis, Snapshot(settings.directory_snapshot, secret))
        self._report_directory()
        clients = Clients(settings.trusted_proxies, settings.country_header, open_countries(settings.countries))
        clicks = ClickIntake(program, secret, self._links, journal, self._metrics, now_ms, clients)
        self._redirect = RedirectApp(clicks)
        self.lane = FastLane(clicks)
        touch = Touch(clicks, Claims(api_redis))
        directory = Directory(api_redis, bound, lambda: self._links.was_complete)
        intake = Intake(directory, program, secret, settings.tracker_url, now_ms)
        api = ConversionsApi(
            redis=api_redis,
            tokens=Tokens(api_redis, admin_token),
            directory=directory,
            intake=intake,
            importer=Importer(api_redis, intake, journal, program, now_ms),
            program=program,
            journal=journal,
            settings=settings,
            now_ms=now_ms,
        )
        self._journal = journal
        app.router.routes.extend(
            [
                *api.routes(),
                *touch.routes(),
                *LinkerScript(program).routes(),
                Route("/health/live", self._live),
                Route("/health/ready", self._ready),
                Route("/metrics", self._report),
                Route("/robots.txt", self._robots),
                Route("/favicon.ico", self._nothing),
            ]
        )
        await self._links.start()
        await journal.start()
        yield
        await journal.close()
        await self._links.close()
        for client in (directory_redis, api_redis):
            await client.aclose()

    def _report_directory(self) -> None:
        """The directory's numbers in the metrics."""
        links = self._links
        for name, text, read in (
            ("links", "Short links in memory.", lambda: links.link_count),
            ("partners", "Partners in memory.", lambda: links.partner_count),
            ("age_seconds", "How long ago memory was last known to be what Redis has.", lambda: links.age_seconds),
            ("reads_total", "How often everything was read from Redis.", lambda: links.reads),
        ):
            self._metrics.gauge(f"lasttouch_directory_{name}", text, read)

    def _counted(self, path: str, send: Send) -> Send:
        """Count a call of the Conversions API by its status."""

        async def counting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._metrics.conversions.add(path.removeprefix("/v1/"), str(message["status"]))
            await send(message)

        return counting

    async def _live(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "live"})

    async def _ready(self, request: Request) -> Response:
        """Links can be followed, and clicks have room: on the disk at least, where the journal is full. While Redis is
        away the directory grows old and conversions are 503. A worker that is not ready still redirects."""
        if not self._links.loaded.is_set():
            raise Unavailable("the directory is not loaded yet", retry_after_seconds=1)
        self._journal.require_room()
        return JSONResponse({"status": "ready", "directory_age_seconds": round(self._links.age_seconds, 1)})

    async def _report(self, request: Request) -> Response:
        return PlainTextResponse(self._metrics.render(), media_type="text/plain; version=0.0.4")

    async def _robots(self, request: Request) -> Response:
        """Crawlers have no business here: every address is a link that counts clicks."""
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    async def _nothing(self, request: Request) -> Response:
        return Response(status_code=404)


def create_app(settings: Settings, program: Program, worker: str) -> TrackerApp:
    """A tracker worker's app, not yet connected to anything."""
    return TrackerApp(settings, program, worker)
