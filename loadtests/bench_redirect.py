"""`lasttouch bench redirect`: what a durable, fully recorded click costs beside an empty answer, in one run.

Three servers share one core: uvicorn answering an empty 302, our redirect the ordinary way, and our redirect as it is
served. Redis and the load share another. They are asked in turn, round after round, so that a noisy machine is
noisy for all; compare ratios. Besides requests per second the processor time per request is measured, which says more
on a busy machine. The load is wrk's, which must be installed; latencies at half the peak come from steady_load.py.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.pinned_server import CHROME, Measured, find_wrk, load, on_the_load_core, ratio, running_server, summary
from loadtests.steady_load import steady_load
from tracker import redis_server
from tracker.errors import SettingError
from tracker.settings import Settings

KINDS = ("empty", "ordinary", "lane")
REQUEST = f"GET /a/BENCH HTTP/1.1\r\nHost: bench\r\nUser-Agent: {CHROME}\r\n\r\n".encode()


def bench_redirect(rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Run the comparison. The answer is what is printed as JSON. Raises SettingError where it can't run here."""
    wrk = find_wrk()
    with ExitStack() as stack:
        stack.enter_context(on_the_load_core())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lasttouch-bench-")))
        settings = Settings(data=folder)
        redis_url = stack.enter_context(redis_server.running(settings))
        servers = {kind: stack.enter_context(running_server(kind, folder, redis_url)) for kind in KINDS}
        _join(servers["lane"].port)
        plain = {kind: Measured() for kind in KINDS}
        mixed = {spread: Measured() for spread in ("plain", "mixed")}
        for number in range(rounds):
            for kind in KINDS:
                load(wrk, servers[kind], plain[kind], seconds, connections)
            for spread, measured in mixed.items():
                load(wrk, servers["lane"], measured, seconds, connections, "mixed.lua", [spread])
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        half = min(statistics.median(plain[kind].per_second) for kind in KINDS) / 2
        latency = {
            kind: asdict(steady_load(servers[kind].port, [REQUEST], half, seconds, connections)) for kind in KINDS
        }
        return {
            "plain": {kind: summary(measured) for kind, measured in plain.items()},
            "by_script": {spread: summary(measured) for spread, measured in mixed.items()},
            "ratios": {
                "lane_to_empty": ratio(plain["lane"], plain["empty"]),
                "ordinary_to_empty": ratio(plain["ordinary"], plain["empty"]),
                "mixed_to_plain": ratio(mixed["mixed"], mixed["plain"]),
            },
            "latency_at_half_of_the_slowest_peak": latency,
            "memory_mb": round(servers["lane"].memory_mb(), 1),
            "clicks_per_batch": _clicks_per_batch(servers["lane"].port),
        }


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
