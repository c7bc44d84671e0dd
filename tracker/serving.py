"""Serving an ASGI app with uvicorn: listening sockets, limits, logs, signals and the word that we are ready."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tracker.errors import SettingError

logger = logging.getLogger(__name__)

LONGEST_HEAD_BYTES = 64 * 1024  # request line and headers of one request
HEAD_SECONDS = 10.0  # from a request's first byte until its headers end
BACKLOG = 2048  # connections that wait while all workers are busy or one is restarted
KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 8  # how long running requests may take when the process is told to stop

_HEAD_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEAD_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def log_as(role: str) -> None:
    """Log one line per event on stderr: time, role, level, message."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {role} %(levelname)s %(message)s", force=True
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start and stop are the supervisor's to tell


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that children can inherit. Port 0 takes a free one. Raises SettingError in one line.

    All workers accept from this one socket: while a worker is restarted the others take its visitors,
    and where all are, visitors wait in the backlog instead of being refused.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise SettingError(f"--host {host}: {error.strerror}") from None
    except OverflowError:
        raise SettingError(f"port {port} is not one; give 0 to 65535") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. asyncio's own loop sets it only where the protocol is named.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SettingError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    except OverflowError:
        listening.close()
        raise SettingError(f"port {port} is not one; give 0 to 65535") from None
    return listening


def serve_app(
    app: Any, listening: socket.socket, ready_fd: int | None = None, protocol: type[HttpToolsProtocol] | None = None
) -> None:
    """Serve `app` on a listening socket until SIGTERM or SIGINT, then finish what runs and return.

    `ready_fd` is a pipe that is told `ready` once requests are answered. `protocol` speaks HTTP, BoundedHttpProtocol
    unless another one is given.
    """
    _allow_many_files()
    config = uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "auto",
        http=protocol or BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # X-Forwarded-* is believed by the apps, from LASTTOUCH_TRUSTED_PROXIES only
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config, ready_fd)
    server.run(sockets=[listening])
    if not server.started:
        raise SystemExit(3)


class LateApp:
    """An app that is made when the server starts, in its event loop, from things that must be opened and closed.

    `opened` gives the app as an async context; its exit is the server's shutdown.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[ASGIApp]]) -> None:
        self._opened = opened
        self._app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        started = False
        try:
            async with self._opened() as self._app:
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            logger.exception("cannot %s", "stop cleanly" if started else "start")
            await send({"type": f"lifespan.{'shutdown' if started else 'startup'}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on how much a request may send, and how long it may take, before its headers end.

    Every connection without a request under way has a time limit too, which uvicorn gives only to those that have been
    answered: one that never says anything, or says what belongs to no request, is closed as one that falls silent is.
    """

    head_seconds = HEAD_SECONDS
    _reads_head = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _waiting_since_s: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super()._unset_keepalive_if_required()
        if self._running is not None:
            # uvicorn tells only the newest of pipelined requests; the one under way would write to a closed connection.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        self._reads_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_read()
        super().on_headers_complete()

    def _head_is_read(self) -> None:
        self._reads_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._stop_head_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._reads_head:
            self._head_bytes += len(data)
            if self._head_bytes > LONGEST_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LONG)
            elif self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)
        elif not self._is_answering() and self._waiting_since_s is None and not self.transport.is_closing():
            # Empty lines, or the rest of a body that nobody wanted.
            self._wait_for_a_request()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._is_answering():
            # Requests before it hold it up, and their answers come first.
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)
        else:
            self._refuse(_HEAD_TOO_LATE)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # One timer a connection serves all waits between its requests, for making one anew each time costs as much as a
    # tenth of a redirect: where it finds that the wait has begun later, it sleeps on.

    def _wait_for_a_request(self) -> None:
        self._waiting_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wake_after(self.timeout_keep_alive)

    def _wake_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._waiting_since_s = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._waiting_since_s is None:
            return  # a request is under way; its answer begins the next wait
        left_s = self._waiting_since_s + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._wake_after(left_s)
        else:
            super().timeout_keep_alive_handler()

    def on_response_complete(self) -> None:
        # As the base class does, but for the timer.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._wait_for_a_request()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, answer: bytes) -> None:
        self._stop_head_timer()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn's server that tells when it is ready and leaves the exit code to us."""

    def __init__(self, config: uvicorn.Config, ready_fd: int | None) -> None:
        super().__init__(config)
        self._ready_fd = ready_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._take_signals()  # once more: an embedded ClickHouse that was loaded meanwhile may have taken them
        # What is there now stays. The garbage collector need not look at all of it again, for 10 ms each time.
        gc.collect()
        gc.freeze()
        if self._ready_fd is not None:
            os.write(self._ready_fd, b"ready\n")
            os.close(self._ready_fd)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Unlike uvicorn's, does not raise the signal again at the end: a clean stop is exit code 0."""
        self._take_signals()
        yield

    def _take_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)


def _allow_many_files() -> None:
    """A connection is an open file: raise the soft limit to the hard one, as far as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
