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
    p99_ms: float
    errors: int


class _Connection(asyncio.Protocol):
    """Sends requests for redirects; answers come in order and end with an empty line, for they have no body."""

    def __init__(self, latencies: list[float]) -> None:
        self._due: deque[float] = deque()
        self._latencies = latencies
        self._unread = b""
        self.transport: asyncio.Transport
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, due_s: float) -> None:
        self._due.append(due_s)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        *answers, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for answer in answers:
            self._latencies.append(now_s - self._due.popleft())
            self.errors += not answer.startswith(b"HTTP/1.1 302")

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += len(self._due)


def steady_load(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Latency:
    """Load a local port for `seconds` with `rate` of the requests a second, in turn, spread over the connections."""
    return uvloop.run(_run(port, requests, rate, seconds, connections))


async def _run(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Latency:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    opened = [
        (await loop.create_connection(lambda: _Connection(latencies), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    began_s = time.perf_counter()
    sent = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        due = int(elapsed_s * rate)
        for number in range(sent, due):
            opened[number % connections].ask(requests[number % len(requests)], began_s + number / rate)
        sent = max(sent, due)
        await asyncio.sleep(TICK_SECONDS)
    for _ in range(500):  # the last answers may take a while
        if len(latencies) == sent:
            break
        await asyncio.sleep(0.01)
    errors = sum(each.errors for each in opened) + sent - len(latencies)
    for each in opened:
        each.transport.close()
    latencies.sort()
    ms = [1000 * latencies[int(len(latencies) * share)] if latencies else 0.0 for share in (0.5, 0.99)]
    return Latency(sent / seconds, round(ms[0], 3), round(ms[1], 3), errors)
