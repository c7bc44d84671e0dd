"""uvicorn's HTTP protocol with a fast lane: usual redirects are answered here, with no task and no ASGI message.

Everything that the lane does not take goes on to the app, as if the lane were not there. A request in the lane stands
where uvicorn keeps its request-response cycle, so that keep-alive, pipelining, disconnects and shutdown work alike.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tracker.client_address import Client
from tracker.fast_lane import Answer, FastLane
from tracker.serving import BoundedHttpProtocol

log = logging.getLogger(__name__)


class Pending:
    """A request whose click is being written: as much of uvicorn's request-response cycle as its protocol looks at."""

    __slots__ = ("answer", "disconnected", "keep_alive", "more_body", "respond", "response_complete")
    body = b""

    def __init__(self, answer: Answer, keep_alive: bool, respond: Callable[[Pending, bool], None]) -> None:
        self.answer = answer
        self.keep_alive = keep_alive
        self.respond = respond
        self.more_body = False
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> Pending:
        return self

    def set(self) -> None:
        """Nobody waits for more of the request."""

    def finish(self, is_durable: bool) -> None:
        """The click is durable, or nobody could keep it."""
        self.response_complete = True
        self.respond(self, is_durable)


class FastProtocol(BoundedHttpProtocol):
    """A connection. The app's `lane` is there once it has started."""

    _lane: FastLane | None = None
    _client: Client | None = None
    _head = b""
    _head_of: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._lane = getattr(self.app, "lane", None)
        if self._lane is not None:
            self._client = self._lane.client(self.client[0] if self.client else "", self.scheme or "http")

    def on_message_begin(self) -> None:
        # As the base class does, but without the scope, which only the app needs.
        self._reads_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        answer = self._answer()
        if answer is None:
            self._go_to_the_app()
            return
        self._head_is_read()
        self.cycle = pending = Pending(answer, self.parser.should_keep_alive(), self._respond)  # type: ignore[assignment]
        self._lane.journal.put(answer.line, pending.finish)  # type: ignore[union-attr]

    def _answer(self) -> Answer | None:
        """The lane's answer, if this is a request for it and no other is under way on this connection."""
        lane, cycle, parser = self._lane, self.cycle, self.parser
        if (
            lane is None
            or (cycle is not None and not cycle.response_complete)
            or parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.flow.write_paused
        ):
            return None
        try:
            peer = self.client[0] if self.client else ""
            return lane.answer(self.url, self.headers, self._client, peer, self.scheme or "http")
        except Exception:
            log.exception("the fast lane failed; the request goes the ordinary way")
            lane.metrics.redirect_errors.add()
            return None

    def _go_to_the_app(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the list that the scope holds
        super().on_headers_complete()

    def _respond(self, pending: Pending, is_durable: bool) -> None:
        headers, result = pending.answer.headers, pending.answer.result
        if not is_durable and result == "counted":
            result = "not-recorded"
            headers = headers.replace(b"x-lasttouch: counted\r\n", b"x-lasttouch: not-recorded\r\n", 1)
        self._lane.metrics.clicks.add("redirect", result)  # type: ignore[union-attr]
        if not self.transport.is_closing():
            closing = b"" if pending.keep_alive else b"connection: close\r\n"
            self.transport.write(b"%b%b%b\r\n" % (self._status_and_defaults(), headers, closing))
            if not pending.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _status_and_defaults(self) -> bytes:
        """The status line and the server's own headers (its date, mostly), which change once a second."""
        defaults = self.server_state.default_headers
        if self._head_of is not defaults:
            lines = b"".join(b"%b: %b\r\n" % pair for pair in defaults)
            self._head, self._head_of = b"HTTP/1.1 302 Found\r\n" + lines, defaults
        return self._head
