"""The whole program in this process: imports, and calls of the app, on real stores, at a clock of the test's own.

What a caller sends goes through the app's own parsing, authentication and rounding; only sockets are left out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import redis
import redis.asyncio
from starlette.applications import Starlette
from starlette.types import Message

from attribution.loader import Loader
from attribution.rebuild import mark_complete
from attribution.warehouse import Warehouse
from reports.app import create_app
from tests.histories import SECRET
from tracker import redis_keys
from tracker.directory import Directory
from tracker.imports import Importer, ImportResult
from tracker.intake import Intake
from tracker.journal import Journal
from tracker.metrics import Metrics
from tracker.program import Program
from tracker.settings import Settings
from tracker.spool import Spool
from tracker.tokens import Tokens

ADMIN_TOKEN = "admin-token-of-the-tests"
SPOOL_BYTES = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """An answer of the app."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class InProcess:
    """One program; a context. `now_ms` may be moved on."""

    def __init__(self, redis_url: str, warehouse: Warehouse, program: Program, data: Path, now_ms: int) -> None:
        self.client = redis.Redis.from_url(redis_url)
        self.now_ms = now_ms
        self._warehouse = warehouse
        self._program = program
        self._settings = Settings(data=data, admin_token=ADMIN_TOKEN, redis_url=redis_url, partner_calls_per_minute=0)
        self._runner = asyncio.Runner()
        self._app: Starlette
        self._importer: Importer
        self._tokens: Tokens
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())
        self._runner.close()
        self.client.close()

    async def _start(self) -> None:
        def clock() -> int:
            return self.now_ms

        settings, program = self._settings, self._program
        self.client.flushall()
        mark_complete(self.client)  # as attribution says of a program that begins
        client = redis.asyncio.Redis.from_url(settings.effective_redis_url)
        directory = Directory(client, settings.journal_bound, lambda: True)
        intake = Intake(directory, program, SECRET, settings.tracker_url, clock)
        spool = Spool(settings.spool, SPOOL_BYTES)
        journal = Journal(settings.effective_redis_url, spool, program.window_ms, clock, Metrics("test"))
        await journal.start()
        self._importer = Importer(client, intake, journal, program, clock)
        self._tokens = Tokens(client, ADMIN_TOKEN)
        self._app = create_app(settings, program, client, self._warehouse, self._tokens, SECRET, None, clock)
        self._closing = [journal.close, client.aclose]

    async def _stop(self) -> None:
        for close in self._closing:
            await close()

    def run(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self._runner.run(waiting())

    def take(self, lines: Iterable[Mapping[str, Any]]) -> ImportResult:
        """What became of an import of these lines."""

        async def chunks() -> AsyncIterator[bytes]:
            yield "".join(json.dumps(line) + "\n" for line in lines).encode()

        return self.run(self._importer.run(chunks()))

    def token(self, partner_id: str) -> str:
        """A new token of a partner."""
        return self.run(self._tokens.issue("partner", "test", self.now_ms, partner_id))[1]

    def is_attributed(self) -> None:
        """Say that rounds have seen every load, as attribution does after a round."""
        loader = Loader(self.client, self._warehouse, self._program, lambda: self.now_ms)
        loader.recover()
        self.client.hset(redis_keys.PROGRESS, "attributed", loader.total)

    def get(self, target: str, token: str) -> Told:
        return self.call("GET", target, token)

    def get_all(self, targets: Sequence[str], token: str) -> list[Told]:
        """Several requests at once."""

        async def all_of_them() -> list[Told]:
            return list(await asyncio.gather(*(self._call("GET", target, token, b"") for target in targets)))

        return self.run(all_of_them())

    def call(self, method: str, target: str, token: str, body: Mapping[str, Any] | None = None) -> Told:
        """One request of the app."""
        return self.run(self._call(method, target, token, b"" if body is None else json.dumps(body).encode()))

    async def _call(self, method: str, target: str, token: str, body: bytes) -> Told:
        path, _, query = target.partition("?")
        headers = {"authorization": f"Bearer {token}", "host": "app.test", "content-length": str(len(body))}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("app.test", 80),
        }
        status, pieces = 0, []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                pieces.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return Told(status, b"".join(pieces))
