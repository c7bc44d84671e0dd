"""A steady load: requests at a given rate whatever the answers do, and how long each took from when it was due.

wrk asks as fast as it is answered, which hides waiting; a latency at half the peak needs a clock that does not wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import uvloop

TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies in milliseconds, and how many requests per second were really sent."""

    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int


class _Load:
    """What is asked and answered. A request waits for a connection that waits for nothing, as visitors share none."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self._due: deque[tuple[bytes, float]] = deque()
        self._idle: deque[_Connection] = deque()  # used in turn, so that none is closed for its silence

    def ask(self, request: bytes, due_s: float) -> None:
        """Send a request that was due at a time, as soon as it can be."""
        self._due.append((request, due_s))
        if self._idle:
            self._idle.popleft().send(*self._due.popleft())

    def is_free(self, connection: _Connection) -> None:
        if self._due:
            connection.send(*self._due.popleft())
        else:
            self._idle.append(connection)


class _Connection(asyncio.Protocol):
    """Sends a request for a redirect at a time; the answer ends with an empty line, for it has no body."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._due_s: float | None = None
        self._answer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.is_free(self)

    def send(self, request: bytes, due_s: float) -> None:
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._due_s is None or not self._answer.endswith(b"\r\n\r\n"):
            return
        self._load.latencies.append(time.perf_counter() - self._due_s)
        self._load.errors += not self._answer.startswith(b"HTTP/1.1 302")
        self._answer, self._due_s = b"", None
        self._load.is_free(self)

    def close(self) -> None:
        self._transport.close()


def steady_load(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Latency:
    """Load a local port for `seconds` with `rate` of the requests a second, in turn, spread over the connections."""
    return uvloop.run(_run(port, requests, rate, seconds, connections))


async def _run(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Latency:
    loop = asyncio.get_running_loop()
    load = _Load()
    opened = [
        (await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    began_s = time.perf_counter()
    sent = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        due = int(elapsed_s * rate)
        for number in range(sent, due):
            load.ask(requests[number % len(requests)], began_s + number / rate)
        sent = max(sent, due)
        await asyncio.sleep(TICK_SECONDS)
    for _ in range(500):  # the last answers may take a while
        if len(load.latencies) == sent:
            break
        await asyncio.sleep(0.01)
    errors = load.errors + sent - len(load.latencies)
    for each in opened:
        each.close()
    latencies = sorted(load.latencies)
    p50, p95, p99 = (
        round(1000 * latencies[int(len(latencies) * share)], 3) if latencies else 0.0 for share in (0.5, 0.95, 0.99)
    )
    return Latency(sent / seconds, p50, p95, p99, errors)
