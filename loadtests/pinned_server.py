"""A benchmark's servers, each pinned to one core, and what wrk on another core measures of them.

Besides requests per second the processor time per request is measured, which says more on a busy machine.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tracker.errors import SettingError
from tracker.serving import listen

SERVER_CORE, LOAD_CORE = 0, 1
READY_SECONDS = 30
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
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


def find_wrk() -> str:
    """Where wrk is. Raises SettingError where a benchmark can't run."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SettingError("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    if (os.cpu_count() or 1) < 2:
        raise SettingError("the benchmark needs two cores: one for the servers, one for the load")
    return wrk


@contextmanager
def on_the_load_core() -> Iterator[None]:
    """Run here, and what is started here: Redis and wrk. The servers choose their own core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def summary(measured: Measured) -> dict[str, float]:
    return {
        "per_second": round(statistics.median(measured.per_second)),
        "per_second_best": round(max(measured.per_second)),
        "cpu_microseconds": round(statistics.median(measured.cpu_microseconds), 1),
        "cpu_microseconds_best": round(min(measured.cpu_microseconds), 1),
    }


def ratio(one: Measured, other: Measured) -> dict[str, float]:
    """How one compares to the other, 1 being as good: medians of the rounds' own ratios, and the best round of either,
    which others on the machine have disturbed least."""
    rates = [a / b for a, b in zip(one.per_second, other.per_second, strict=True)]
    cpu = [b / a for a, b in zip(one.cpu_microseconds, other.cpu_microseconds, strict=True)]
    return {
        "per_second": round(statistics.median(rates), 3),
        "per_second_best": round(max(one.per_second) / max(other.per_second), 3),
        "cpu": round(statistics.median(cpu), 3),
        "cpu_best": round(min(other.cpu_microseconds) / min(one.cpu_microseconds), 3),
    }


def load(
    wrk: str,
    server: Server,
    measured: Measured,
    seconds: float,
    connections: int,
    script: str | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Ask a server for a while, as fast as it answers. `script` is one of wrk's in this folder, with its arguments.

    Raises SettingError when it answered something else.
    """
    words = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    words += ["-s", str(Path(__file__).parent / script)] if script else ["-H", f"User-Agent: {CHROME}"]
    before = server.cpu_seconds()
    words += [f"http://127.0.0.1:{server.port}/a/BENCH", *(("--", *arguments) if arguments else ())]
    printed = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False).stdout
    used = server.cpu_seconds() - before
    asked, rate = re.search(r"(\d+) requests in", printed), re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if asked is None or rate is None or "Non-2xx or 3xx" in printed or "Socket errors" in printed:
        raise SettingError(f"wrk's run on the {server.kind} server went wrong:\n{printed}")
    measured.per_second.append(float(rate[1]))
    measured.cpu_microseconds.append(1e6 * used / int(asked[1]))


@contextmanager
def running_server(kind: str, folder: Path, redis_url: str) -> Iterator[Server]:
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
