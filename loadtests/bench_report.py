"""`lasttouch bench report`: how long partners wait for their reports when the program is large, and visitors meanwhile.

Facts are made inside an embedded ClickHouse (bench_rebuild.py) and attributed; then a real `lasttouch serve` on them is
asked over HTTP: for a year of a partner's overview, by day, one question at a time, by partners who never asked before
and by the largest while visitors click; and then by many partners at once, each of whose programs asks once a second
for the next kind of report. Meanwhile visitors follow links, so that what is asked for changes; how long their
redirects take is measured with the partners and without.

How long an answer took in the server is what the server says in it (`Server-Timing`).
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from loadtests.answers import send
from loadtests.bench_rebuild import Bench, Size
from loadtests.browsers import BROWSERS
from loadtests.own_server import ADMIN_TOKEN, Server, ServerBroke
from loadtests.steady_load import Latency, steady_load
from tracker.program import DAY_MS
from tracker.settings import Settings

FACTS_DAYS = 425
"""How long before today the first partners join: reports reach back a year, and the facts lie within."""
ONE_BY_ONE = 60
"""Overviews of each kind, one after another."""
LARGEST_SECONDS = 15.0
"""In which the largest partner asks for theirs."""
POLL_SECONDS = 1.0
CLICKS_PER_SECOND = 200
CLICK_CONNECTIONS = 8
LINKS_CLICKED = 2_000
"""The clicks are on the links of so many partners, drawn as the facts' clicks are: few partners have most."""
ASKED_BEFORE_AT_ONCE = 4
"""Partners who ask for everything once at the same time, before anything is measured."""
DIRECTORY_SECONDS = 900.0
"""At most for the server to put the program's licenses and payments into its empty Redis, before it is ready."""
POLLED = (
    "/v2/partners/overview?{year}",
    "/v2/partners/affiliates/reports/clicks?{year}&aggregation=day",
    "/v2/partners/affiliates/reports/trials?{year}&aggregation=week",
    "/v2/partners/affiliates/reports/conversions?{year}&aggregation=week",
    "/v2/partners/affiliates/reports/earnings?{year}&aggregation=month",
    "/v2/partners/affiliates/metrics/clicks?{year}",
    "/v2/partners/affiliates/metrics/earnings?{year}",
    "/v2/partners/affiliates/summary",
    "/v2/partners/affiliates/performance?{year}",
    "/v2/partners/affiliates/licenses?{year}",
    "/v2/partners/balance",
    "/v2/partners/reports/commission?{year}&aggregation=month",
    "/v2/partners/commissions?limit=50",
)
"""What a partner's programs ask for in turn, of the year that ends today."""
LARGEST, TYPICAL = 0, 16
"""A tenth of the clicks are on the first partner's links, half on those of one partner in TYPICAL; who comes next is in
the middle."""


class Took(NamedTuple):
    """How long an answer took, in ms: from outside, and in the server."""

    client_ms: float
    server_ms: float


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
        return {"facts": size.parameters, "ledger_lines": lines, **ask_program(data, size, seconds, pollers)}


def make_program(data: Path, size: Size) -> int:
    """Fill a data folder's ClickHouse with attributed facts. How many ledger lines there are then."""
    data.mkdir(mode=0o700, parents=True)
    start_ms = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS - FACTS_DAYS * DAY_MS
    program = Bench(Settings(data=data).effective_clickhouse_url, "lasttouch", size, start_ms)
    program.make_facts()
    program.round()
    program.merge_months()
    program.wait_for_merges()
    lines = program.count("ledger")
    program.leave()
    return lines


def ask_program(data: Path, size: Size, seconds: float, pollers: int) -> dict[str, Any]:
    """What a server on that folder is measured to do."""
    server = Server(data, workers=1).start(DIRECTORY_SECONDS)
    try:
        names = [_partner_id(number) for number in _spread(size.partners, pollers)]
        middle = size.partners // TYPICAL
        largest, typical = _partner_id(LARGEST), [_partner_id(middle + number) for number in range(ONE_BY_ONE)]
        tokens = {name: _token(server, name) for name in {largest, *typical, *names}}
        overview = f"/v2/partners/overview?{_year()}"
        overviews = {"asked_for_the_first_time": [_ask(server, tokens[name], overview) for name in typical]}
        with ThreadPoolExecutor(1) as visitors:
            clicking = visitors.submit(_clicked, server, size, LARGEST_SECONDS)
            overviews["largest_partner_while_visitors_click"] = _ask_steadily(server, tokens[largest], overview)
            clicking.result()
        with ThreadPoolExecutor(ASKED_BEFORE_AT_ONCE) as partners:  # programs have polled for days
            list(partners.map(lambda name: [_ask(server, tokens[name], target) for target in _targets()], names))
        redirects = [_clicked(server, size, seconds / 2)]
        busy_s, began_s = _processor_seconds(server), time.perf_counter()
        with ThreadPoolExecutor(1) as visitors:
            clicking = visitors.submit(_clicked, server, size, 2 * seconds)
            polled = _poll(server, [tokens[name] for name in names], seconds)
            redirects.append(clicking.result())
        busy_s, took_s = _processor_seconds(server) - busy_s, time.perf_counter() - began_s
        redirects.append(_clicked(server, size, seconds / 2))
        metrics = send(server.app_port, "GET", "/metrics").body.decode().splitlines()
    finally:
        server.stop()
    everything = [took for each in polled.values() for took in each]
    return {
        "overview_of_a_year": {kind: _shown(took) for kind, took in overviews.items()},
        "partners_at_once": {
            "partners": pollers,
            "seconds": seconds,
            **_shown(everything),
            "processors_busy": round(busy_s / took_s, 2),
            "statements": {
                name: sum(
                    float(line.split()[-1]) for line in metrics if line.startswith(f"lasttouch_rows_{name}_total ")
                )
                for name in ("remembered", "read")
            },
            "by_question": {target.partition("?")[0]: _shown(took) for target, took in polled.items()},
        },
        "redirects": {
            "clicks_per_second": CLICKS_PER_SECOND,
            **dict(zip(("alone_before", "while_partners_ask", "alone_after"), map(asdict, redirects), strict=True)),
        },
    }


def _ask_steadily(server: Server, token: str, target: str) -> list[Took]:
    """ONE_BY_ONE answers in LARGEST_SECONDS."""
    found = []
    for _ in range(ONE_BY_ONE):
        found.append(_ask(server, token, target))
        time.sleep(max(0.0, LARGEST_SECONDS / ONE_BY_ONE - found[-1].client_ms / 1000))
    return found


def _clicked(server: Server, size: Size, seconds: float) -> Latency:
    """Visitors who follow links, at a steady rate, from a process of their own; and how long they waited."""
    requests = [
        f"GET /a/{_partner_id(int((number / LINKS_CLICKED) ** 4 * size.partners))} HTTP/1.1\r\n"
        f"Host: links.example\r\nUser-Agent: {BROWSERS[number % len(BROWSERS)]}\r\n\r\n".encode()
        # one after the other in an order that mixes large partners and small ones
        for number in (turn * 7919 % LINKS_CLICKED for turn in range(LINKS_CLICKED))
    ]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        load = other.submit(
            steady_load, server.tracker_port, requests, CLICKS_PER_SECOND, seconds, CLICK_CONNECTIONS
        ).result()
    if load.errors:
        raise ServerBroke(f"{load.errors} clicks were not redirected\n{server.log_tail()}")
    return load


def _poll(server: Server, tokens: Sequence[str], seconds: float) -> dict[str, list[Took]]:
    """Partners whose programs each ask once a second for something else of POLLED, for twice as long. Question → how
    long answers took in the second half."""
    targets = _targets()
    stop, counts = threading.Event(), threading.Event()
    found: dict[str, list[Took]] = defaultdict(list)

    def partner(number: int) -> None:
        turn = number  # not all ask for the same at the same time
        stop.wait(POLL_SECONDS * number / len(tokens))  # nor in the same instant
        while not stop.is_set():
            target = targets[turn % len(targets)]
            took = _ask(server, tokens[number], target)
            if counts.is_set():
                found[target].append(took)
            turn += 1
            stop.wait(max(0.0, POLL_SECONDS - took.client_ms / 1000))

    with ThreadPoolExecutor(len(tokens)) as partners:
        running = [partners.submit(partner, number) for number in range(len(tokens))]
        stop.wait(seconds)  # what clicks have changed since they asked last is read in this time
        counts.set()
        stop.wait(seconds)
        stop.set()
        for each in running:
            each.result()
    return {target: found[target] for target in targets if found[target]}


def _targets() -> list[str]:
    return [target.format(year=_year()) for target in POLLED]


def _ask(server: Server, token: str, target: str) -> Took:
    began_s = time.perf_counter()
    answer = send(server.app_port, "GET", target, headers={"Authorization": f"Bearer {token}"})
    took_s = time.perf_counter() - began_s
    if answer.status != 200:
        raise ServerBroke(f"GET {target} answered {answer.status}: {answer.body[:500]!r}")
    return Took(1000 * took_s, float(answer.headers["Server-Timing"].partition("dur=")[2]))


def _year() -> str:
    """The dates of the year that ends today."""
    last = datetime.now(UTC).date()
    return urlencode({"date_from": (last - timedelta(days=364)).isoformat(), "date_to": last.isoformat()})


def _token(server: Server, partner_id: str) -> str:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = send(server.app_port, "POST", f"/v2/admin/partners/{partner_id}/tokens", {"label": "bench"}, headers)
    if answer.status != 201:
        raise ServerBroke(f"no token for {partner_id}: {answer.body[:500]!r}")
    return str(answer.json["token"])


def _processor_seconds(server: Server) -> float:
    """What all processes of the server have used so far."""
    ticks = 0
    for pid in server.processes():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _partner_id(number: int) -> str:
    return f"W-{number:07d}"


def _spread(partners: int, count: int) -> list[int]:
    """`count` partners from the largest to the smallest."""
    return [number * partners // count for number in range(count)]


def _waited(ms: Sequence[float]) -> Waited:
    ordered = sorted(ms)
    shares = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 1))
    return Waited(len(ordered), *(round(each, 1) for each in shares))


def _shown(took: Sequence[Took]) -> dict[str, Any]:
    server, client = (asdict(_waited([each[place] for each in took])) for place in (1, 0))
    answers = server.pop("answers")
    del client["answers"]
    return {"answers": answers, "in_server": server, "at_client": client}
