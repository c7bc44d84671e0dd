"""`lasttouch bench report`: how long partners wait for their reports when the program is large.

Facts are made inside an embedded ClickHouse (bench_rebuild.py) and attributed; then a real `lasttouch serve` on them is
asked over HTTP: for a year of a partner's overview, by day, one partner at a time, and then by many partners at once,
each of whom asks once a second as a page that is left open does.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from loadtests.answers import send
from loadtests.bench_rebuild import Bench, Size
from loadtests.own_server import ADMIN_TOKEN, Server, ServerBroke
from tracker.settings import Settings

YEAR = urlencode({"date_from": "2024-01-01", "date_to": "2024-12-30"})
ONE_BY_ONE = 60
"""Questions of each kind, one after another."""
POLL_SECONDS = 1.0
DIRECTORY_SECONDS = 400.0
"""At most for the server to put the program's licenses and payments into its empty Redis, before it is ready."""
POLLED = (
    f"/v2/partners/overview?{YEAR}",
    "/v2/partners/commissions?limit=50",
    f"/v2/partners/affiliates/metrics/clicks?{YEAR}",
    f"/v2/partners/affiliates/metrics/earnings?{YEAR}",
    f"/v2/partners/reports/commission?{YEAR}&aggregation=month",
)
"""What a partner's page and programs ask for in turn, of a year of facts."""
LARGEST, TYPICAL = 0, 16
"""A tenth of the clicks are on the links of the first partner; a partner in the middle has the clicks of most."""


@dataclass(frozen=True, slots=True)
class Waited:
    """How long answers took, in ms, and how many there were."""

    answers: int
    p50_ms: float
    p95_ms: float
    most_ms: float


def bench_report(size: Size, seconds: float, pollers: int) -> dict[str, Any]:
    """Everything measured, for `lasttouch bench report`. Raises ServerBroke where an answer is none."""
    with tempfile.TemporaryDirectory(prefix="lasttouch-bench-") as folder:
        data = Path(folder) / "data"
        # In a process of its own: an embedded ClickHouse belongs to one process, and this one's turn comes later.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
            lines = other.submit(make_program, data, size).result()
        server = Server(data, workers=1).start(DIRECTORY_SECONDS)
        try:
            names = [_partner_id(number) for number in _spread(size.partners, pollers)]
            largest, typical = _partner_id(LARGEST), _partner_id(size.partners // TYPICAL)
            tokens = {name: _token(server, name) for name in {largest, typical, *names}}
            one_by_one = {
                kind: _waited([_ask(server, tokens[name], f"/v2/partners/overview?{YEAR}") for _ in range(ONE_BY_ONE)])
                for kind, name in (("largest_partner", largest), ("typical_partner", typical))
            }
            together = _poll(server, [tokens[name] for name in names], seconds)
        finally:
            server.stop()
        return {
            "facts": size.parameters,
            "ledger_lines": lines,
            "overview_of_a_year": {kind: _shown(waited) for kind, waited in one_by_one.items()},
            "partners_at_once": {"partners": pollers, "seconds": seconds, **_shown(_waited(together))},
        }


def make_program(data: Path, size: Size) -> int:
    """Fill a data folder's ClickHouse with attributed facts. How many ledger lines there are then."""
    data.mkdir(mode=0o700, parents=True)
    program = Bench(Settings(data=data).effective_clickhouse_url, "lasttouch", size)
    program.make_facts()
    program.round()
    lines = program.count("ledger")
    program.leave()
    return lines


def _poll(server: Server, tokens: Sequence[str], seconds: float) -> list[float]:
    """Partners who each ask once a second for something else of POLLED."""
    stop = threading.Event()

    def partner(number: int) -> list[float]:
        waited: list[float] = []
        stop.wait(POLL_SECONDS * number / len(tokens))  # not all in the same instant
        while not stop.is_set():
            took = _ask(server, tokens[number], POLLED[len(waited) % len(POLLED)])
            waited.append(took)
            stop.wait(max(0.0, POLL_SECONDS - took))
        return waited

    with ThreadPoolExecutor(len(tokens)) as partners:
        running = [partners.submit(partner, number) for number in range(len(tokens))]
        stop.wait(seconds)
        stop.set()
        return [took for each in running for took in each.result()]


def _ask(server: Server, token: str, target: str) -> float:
    began_s = time.perf_counter()
    answer = send(server.app_port, "GET", target, headers={"Authorization": f"Bearer {token}"})
    took = time.perf_counter() - began_s
    if answer.status != 200:
        raise ServerBroke(f"GET {target} answered {answer.status}: {answer.body[:500]!r}")
    return took


def _token(server: Server, partner_id: str) -> str:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = send(server.app_port, "POST", f"/v2/admin/partners/{partner_id}/tokens", {"label": "bench"}, headers)
    if answer.status != 201:
        raise ServerBroke(f"no token for {partner_id}: {answer.body[:500]!r}")
    return str(answer.json["token"])


def _partner_id(number: int) -> str:
    return f"W-{number:07d}"


def _spread(partners: int, count: int) -> list[int]:
    """`count` partners from the largest to the smallest."""
    return [number * partners // count for number in range(count)]


def _waited(seconds: Sequence[float]) -> Waited:
    ordered = sorted(1000 * each for each in seconds)
    return Waited(
        len(ordered), *(ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 1))
    )


def _shown(waited: Waited) -> dict[str, float]:
    return {
        "answers": waited.answers,
        "p50_ms": round(waited.p50_ms, 1),
        "p95_ms": round(waited.p95_ms, 1),
        "most_ms": round(waited.most_ms, 1),
    }
