"""A redis-server of a test's own, and a proxy before it, to be broken in every way."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tracker.redis_server import find_redis_server

READY_SECONDS = 20.0


class OwnRedis:
    """A redis-server that a test may stop, kill and start again, with the AOF on."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it; `options` are for this once. It may not answer yet when this returns."""
        given = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        # As the embedded one: with `everysec` a write may stay in Redis's memory while the disk is slow (ADR 4).
        self._process = subprocess.Popen(
            [find_redis_server()[0], *given, "--appendonly", "yes", "--appendfsync", "no", *self.options, *options],
            stdout=subprocess.DEVNULL,
            restore_signals=False,  # SIGXFSZ stays ignored: a file that may not grow is an error, not its end
        )

    def wait_until_up(self, password: str | None = None) -> None:
        client = self.client(password)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < deadline, "redis-server did not start in time"
                time.sleep(0.02)
        client.close()

    def client(self, password: str | None = None) -> redis.Redis:
        """A way to look and to set, past any proxy."""
        return redis.Redis(unix_socket_path=str(self.socket), password=password)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean stop, as an operator's."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def forget_everything(self) -> None:
        """Remove its files; it must be down."""
        assert self._process is None
        for path in self.folder.glob("appendonly*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def let_files_grow_to(self, size_bytes: int) -> None:
        """What its disk has room for, a file; -1 is any size."""
        assert self._process is not None
        limit_file_size(self._process.pid, size_bytes)


def limit_file_size(pid: int, size_bytes: int) -> None:
    """No file that process `pid` writes may grow beyond this, as on a full disk; -1 lifts the limit."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size_bytes < 0 else size_bytes, hard))


@dataclass(frozen=True)
class Manner:
    """How a proxy behaves."""

    delay_s: float = 0.0
    """How long each piece is held back, in each direction."""
    is_silent: bool = False
    """Connections are taken, and nothing is passed on."""
    is_refusing: bool = False
    """Connections are closed as soon as they are made."""
    reply_bytes: int | None = None
    """So much of an answer is passed on; then the connection is cut."""
    request_bytes: int | None = None
    """So much of a connection's requests is passed on; the rest disappears."""


HONEST = Manner()


class Proxy:
    """A TCP proxy on 127.0.0.1 to a unix socket. It runs in a thread of its own; `close` it in the end."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._manner = HONEST
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._loop: asyncio.AbstractEventLoop
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._live(),), name="proxy", daemon=True)
        self._listens = threading.Event()
        self._thread.start()
        assert self._listens.wait(10)

    def behave(self, manner: Manner, cut: bool = False) -> None:
        """Behave so from now on, on the connections there are too; `cut` closes those."""
        self._run(self._change(manner, cut))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._ended.wait()
        server.close()
        await self._change(Manner(is_refusing=True), cut=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _change(self, manner: Manner, cut: bool) -> None:
        self._manner = manner
        if cut:
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._manner.is_refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        await asyncio.gather(self._pass_requests(reader, far_writer), self._pass_replies(far_reader, writer))
        self._writers -= ends

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        with suppress(OSError):
            while piece := await reader.read(65_536):
                manner = self._manner
                if manner.delay_s:
                    await asyncio.sleep(manner.delay_s)
                if manner.request_bytes is not None:
                    piece = piece[: max(0, manner.request_bytes - passed)]
                if not manner.is_silent:
                    writer.write(piece)
                    passed += len(piece)
        writer.transport.abort()

    async def _pass_replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                manner = self._manner
                if manner.delay_s:
                    await asyncio.sleep(manner.delay_s)
                if manner.is_silent:
                    continue
                writer.write(piece[: manner.reply_bytes])
                if manner.reply_bytes is not None:
                    break
        writer.close()
