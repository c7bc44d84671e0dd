"""The app on a real port, and what tests ask of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis
import redis.asyncio
import uvicorn
import world

from attribution.warehouse import Warehouse
from reports.app import create_app
from reports.sessions import make_sign_in_link
from tracker import redis_keys
from tracker.program import Program
from tracker.secret import email_hash
from tracker.settings import Settings
from tracker.tokens import Tokens

ADMIN_TOKEN = "admin-token-of-the-tests"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class App:
    """The running app and its stores. `tokens` has one token per scope, and per partner under the Partner ID."""

    port: int
    warehouse: Warehouse
    redis: redis.Redis
    redis_url: str
    data: Path
    tokens: dict[str, str]

    def send(
        self,
        method: str,
        target: str,
        token: str = "",
        cookie: str = "",
        body: Mapping[str, Any] | bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. A mapping body is sent as JSON, `form` as a form."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if cookie:
            sent["Cookie"] = f"lt_session={cookie}"
        if form is not None:
            body = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif isinstance(body, Mapping):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, target: str, token: str = "", cookie: str = "") -> Answer:
        return self.send("GET", target, token, cookie)

    def admin(self, target: str) -> Any:
        answer = self.get(target, ADMIN_TOKEN)
        assert answer.status == 200, answer.text
        return answer.json

    def partner_api(
        self, method: str, path: str, partner: str = "P", /, *, status: int = 200, body: Any = None, **query: Any
    ) -> Any:
        """A call of the Partner API by a partner: the document that it answers with this status; None without one."""
        target = f"/v2/partners{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self.send(method, target, self.tokens[partner], body=body)
        assert answer.status == status, f"{method} {target} answered {answer.status}: {answer.text}"
        return answer.json if answer.body else None

    def sign_in(self, token: str) -> str:
        """The session cookie of someone who pastes a token."""
        answer = self.send("POST", "/", form={"token": token})
        assert answer.status == 303, answer.text
        return cookie_of(answer)

    def sign_in_link(self, scope: str, partner_id: str = "") -> str:
        """The path of a fresh sign-in link."""

        async def make() -> str:
            async with redis.asyncio.Redis.from_url(self.redis_url) as client:
                return await make_sign_in_link(client, "", scope, partner_id)

        return asyncio.run(make())


def cookie_of(answer: Answer) -> str:
    for line in answer.headers.get_all("Set-Cookie") or []:
        if line.startswith("lt_session="):
            return str(line.removeprefix("lt_session=").partition(";")[0])
    return ""


class Serving:
    """Uvicorn in a thread of its own, with an event loop of its own."""

    def __init__(self, redis_url: str, warehouse: Warehouse, data: Path, run: str = "") -> None:
        """`run` goes into the tokens' labels, which are unique in a Redis."""
        self._run_label = run
        self._ready = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        # An answer is written in two pieces; the second must not wait until the first is acknowledged.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.tokens: dict[str, str] = {"admin": ADMIN_TOKEN}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(redis_url, warehouse, data)))
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._ready.wait(0.02):
            assert self._thread.is_alive() and time.monotonic() < deadline, "the app did not start"

    async def _run(self, redis_url: str, warehouse: Warehouse, data: Path) -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            tokens = Tokens(client, ADMIN_TOKEN)
            for scope in ("service", "marketing", "finance"):
                self.tokens[scope] = (await tokens.issue(scope, scope + self._run_label, world.NOW))[1]
            for partner_id in ("P", "Q", "S"):
                label = partner_id + self._run_label
                self.tokens[partner_id] = (await tokens.issue("partner", label, world.NOW, partner_id))[1]
                hashed = email_hash(world.SECRET, f"{partner_id}@partners.example")
                await client.hset(redis_keys.PARTNER_EMAILS, hashed, partner_id)
                await client.hset(redis_keys.PARTNERS, partner_id, world.partner_entry(partner_id))
            await client.set(redis_keys.COMPLETE, "1")  # as attribution says once the directory lacks nothing
            settings = Settings(data=data, admin_token=ADMIN_TOKEN, redis_url=redis_url)
            app = create_app(settings, Program(), client, warehouse, tokens, world.SECRET, None, lambda: world.NOW)
            self._server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
            self._ready.set()
            await self._server.serve([self._socket])

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
