"""uvicorn's HTTP protocol with a fast lane: usual redirects are answered here, with no task and no ASGI message.

Everything that the lane does not take goes on to the app, as if the lane were not there. A request in the lane stands
where uvicorn keeps its request-response cycle, so that keep-alive, pipelining, disconnects and shutdown work alike.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tracker.client_address import Client
from tracker.fast_lane import Answer, FastLane
from tracker.serving import BoundedHttpProtocol

log = logging.getLogger(__name__)


class Pending:
    """A connection's request whose click is being written: as much of uvicorn's request-response cycle as its protocol
    looks at. One serves all such requests of a connection, for they come one after another."""

    __slots__ = ("disconnected", "headers", "keep_alive", "more_body", "response_complete", "result")
    body = b""

    def __init__(self) -> None:
        self.headers = b""
        self.result = ""
        self.keep_alive = True
        self.more_body = False
        self.disconnected = False
        self.response_complete = True

    @property
    def message_event(self) -> Pending:
        return self

    def set(self) -> None:
        """Nobody waits for more of the request."""


class FastProtocol(BoundedHttpProtocol):
    """A connection. The app's `lane` is there once it has started."""

    _lane: FastLane | None = None
    _client: Client | None = None
    _between_requests = True
    _data = b""
    _head = b""
    _head_of: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._pending = Pending()
        self._lane = getattr(self.app, "lane", None)
        if self._lane is not None:
            self._client = self._lane.client(self.client[0] if self.client else "", self.scheme or "http")

    def data_received(self, data: bytes) -> None:
        if self._between_requests and self._client is not None and self._is_free():
            answer = self._again(data)
            if answer is not None:
                self._unset_keepalive_if_required()
                self._await_click(answer, keep_alive=True)
                return
            self._data = data
        super().data_received(data)
        self._data = b""

    def on_message_begin(self) -> None:
        # As the base class does, but without the scope, which only the app needs.
        self._between_requests = False
        self._reads_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_message_complete(self) -> None:
        self._between_requests = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        answer = self._answer()
        if answer is None:
            self._go_to_the_app()
            return
        self._head_is_read()
        self._await_click(answer, self.parser.should_keep_alive())

    def _is_free(self) -> bool:
        """Whether no request is under way on this connection, and its answers are read."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _again(self, data: bytes) -> Answer | None:
        """The answer to a request whose head was seen before."""
        try:
            return self._lane.answer_again(data, self._client)  # type: ignore[union-attr, arg-type]
        except Exception:
            log.exception("the fast lane failed; the request is parsed")
            return None

    def _answer(self) -> Answer | None:
        """The lane's answer, if this is a request for it and no other is under way on this connection."""
        lane, parser = self._lane, self.parser
        if (
            lane is None
            or not self._is_free()
            or parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
        ):
            return None
        try:
            peer = self.client[0] if self.client else ""
            data = self._data if parser.should_keep_alive() else b""
            return lane.answer(self.url, self.headers, self._client, peer, self.scheme or "http", data)
        except Exception:
            log.exception("the fast lane failed; the request goes the ordinary way")
            lane.metrics.redirect_errors.add()
            return None

    def _await_click(self, answer: Answer, keep_alive: bool) -> None:
        """Answer once the click is durable, or nobody could keep it."""
        self.cycle = pending = self._pending  # type: ignore[assignment]
        pending.headers, line, pending.result = answer
        pending.keep_alive = keep_alive
        pending.response_complete = False
        self._lane.journal.put(line, self._respond)  # type: ignore[union-attr]

    def _go_to_the_app(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the list that the scope holds
        super().on_headers_complete()

    def _respond(self, is_durable: bool) -> None:
        pending = self._pending
        pending.response_complete = True
        headers, result = pending.headers, pending.result
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
