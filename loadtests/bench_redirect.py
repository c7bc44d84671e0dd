"""`lasttouch bench redirect`: what a durable, fully recorded click costs beside an empty answer, in one run.

Three servers share one core: uvicorn answering an empty 302, our redirect the ordinary way, and our redirect as it is
served. Redis and the load share another. They are asked in turn, round after round, so that a noisy machine is
noisy for all; compare ratios. Besides requests per second the processor time per request is measured, which says more
on a busy machine. The load is wrk's, which must be installed; latencies at half the peak come from steady_load.py.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.steady_load import steady_load
from tracker import redis_server
from tracker.errors import SettingError
from tracker.serving import listen
from tracker.settings import Settings

SERVER_CORE, LOAD_CORE = 0, 1
KINDS = ("empty", "ordinary", "lane")
READY_SECONDS = 30
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
REQUEST = f"GET /a/BENCH HTTP/1.1\r\nHost: bench\r\nUser-Agent: {CHROME}\r\n\r\n".encode()
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, and the process to read the clock of."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def memory_mb(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(slots=True)
class Measured:
    """What one kind of traffic on one server gave, a value per round."""

    per_second: list[float] = field(default_factory=list)
    cpu_microseconds: list[float] = field(default_factory=list)


def bench_redirect(rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Run the comparison. The answer is what is printed as JSON. Raises SettingError where it can't run here."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SettingError("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    if (os.cpu_count() or 1) < 2:
        raise SettingError("the benchmark needs two cores: one for the servers, one for the load")
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {LOAD_CORE})  # Redis and wrk inherit it; the servers choose their own
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lasttouch-bench-")))
        settings = Settings(data=folder)
        redis_url = stack.enter_context(redis_server.running(settings))
        servers = {kind: stack.enter_context(_server(kind, folder, redis_url)) for kind in KINDS}
        _join(servers["lane"].port)
        plain = {kind: Measured() for kind in KINDS}
        mixed = Measured()
        for number in range(rounds):
            for kind in KINDS:
                _load(wrk, servers[kind], plain[kind], seconds, connections)
            _load(wrk, servers["lane"], mixed, seconds, connections, "mixed.lua")
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        half = min(statistics.median(plain[kind].per_second) for kind in KINDS) / 2
        latency = {kind: asdict(steady_load(servers[kind].port, REQUEST, half, seconds, connections)) for kind in KINDS}
        return {
            "plain": {kind: _summary(measured) for kind, measured in plain.items()},
            "mixed": _summary(mixed),
            "ratios": {
                "lane_to_empty": _ratio(plain["lane"], plain["empty"]),
                "ordinary_to_empty": _ratio(plain["ordinary"], plain["empty"]),
                "mixed_to_plain": _ratio(mixed, plain["lane"]),
            },
            "latency_at_half_of_the_slowest_peak": latency,
            "memory_mb": round(servers["lane"].memory_mb(), 1),
            "clicks_per_batch": _clicks_per_batch(servers["lane"].port),
        }


def _summary(measured: Measured) -> dict[str, float]:
    return {
        "per_second": round(statistics.median(measured.per_second)),
        "cpu_microseconds": round(statistics.median(measured.cpu_microseconds), 1),
    }


def _ratio(one: Measured, other: Measured) -> dict[str, float]:
    """How one compares to the other, 1 being as good: medians of the rounds' own ratios."""
    rates = [a / b for a, b in zip(one.per_second, other.per_second, strict=True)]
    cpu = [b / a for a, b in zip(one.cpu_microseconds, other.cpu_microseconds, strict=True)]
    return {"per_second": round(statistics.median(rates), 3), "cpu": round(statistics.median(cpu), 3)}


def _load(
    wrk: str, server: Server, measured: Measured, seconds: float, connections: int, script: str | None = None
) -> None:
    """Ask a server for a while, as fast as it answers. Raises SettingError when it answered something else."""
    words = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    words += ["-s", str(Path(__file__).parent / script)] if script else ["-H", f"User-Agent: {CHROME}"]
    before = server.cpu_seconds()
    words.append(f"http://127.0.0.1:{server.port}/a/BENCH")
    printed = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False).stdout
    used = server.cpu_seconds() - before
    asked, rate = re.search(r"(\d+) requests in", printed), re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if asked is None or rate is None or "Non-2xx or 3xx" in printed or "Socket errors" in printed:
        raise SettingError(f"wrk's run on the {server.kind} server went wrong:\n{printed}")
    measured.per_second.append(float(rate[1]))
    measured.cpu_microseconds.append(1e6 * used / int(asked[1]))


@contextmanager
def _server(kind: str, folder: Path, redis_url: str) -> Iterator[Server]:
    listening = listen("127.0.0.1", 0)
    words = [sys.executable, "-m", "loadtests.bench_server", kind, str(SERVER_CORE), str(listening.fileno())]
    process = subprocess.Popen(
        [*words, str(folder), redis_url],
        pass_fds=(listening.fileno(),),
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(kind, _ready(listening.getsockname()[1], process), process)
    finally:
        process.terminate()
        process.wait(20)
        listening.close()


def _ready(port: int, process: subprocess.Popen[bytes]) -> int:
    deadline_s = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/health/live")
            connection.getresponse()
            return port
        except OSError:
            time.sleep(0.05)
    raise SettingError(f"a server of the benchmark did not start within {READY_SECONDS} seconds")


def _join(port: int) -> None:
    """Make the partner whose link is asked for, through the API."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = json.dumps({"partner_id": "BENCH", "name": "Bench", "email": "bench@example.com"})
    connection.request("POST", "/v1/partners", body, {"Authorization": "Bearer bench"})
    answer = connection.getresponse()
    if answer.status != 201:
        raise SettingError(f"the benchmark's partner could not join: {answer.read().decode()}")


def _clicks_per_batch(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    numbers = dict(re.findall(r"lasttouch_journal_batch_clicks_(sum|count)\{[^}]*\} (\S+)", text))
    return round(float(numbers["sum"]) / max(1.0, float(numbers["count"])), 1)
