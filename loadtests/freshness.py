"""How long a click takes from its `counted` until it is attributed and in the app's report, in steady traffic.

Marked clicks go through real HTTP one after the other, while others look at `GET /v1/pipeline` and at the funnel of the
marked clicks' partner all the time. A marked click is attributed once as many facts are as were accepted when it was
answered, which the pipeline is asked right then; it is in the report once the report counts as many clicks as were
marked up to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any, NamedTuple

from loadtests.answers import Answer
from loadtests.browsers import BROWSERS
from loadtests.own_server import Server, ServerBroke, poll
from loadtests.steady_load import steady_load

PARTNERS = 50
CONNECTIONS = 400
SALES_PER_SECOND = 5.0  # a click, a signup and a payment each
MARK_SECONDS = 0.1  # from one marked click to the next
PIPELINE_SECONDS, REPORT_SECONDS = 0.1, 0.25  # between looks: what is seen is seen up to so much late
LATE_SECONDS = 60.0  # for the last clicks to arrive
MARKED = "marked"


@dataclass(frozen=True, slots=True)
class Waits:
    """How long clicks took, in milliseconds."""

    clicks: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


class Marked(NamedTuple):
    """When a marked click was answered, and how many facts were accepted then."""

    answered_s: float
    accepted: int


class PipelineLook(NamedTuple):
    """What the pipeline said: how many facts were accepted, and how many were in the results."""

    answered_s: float
    accepted: int
    attributed: int


class ReportLook(NamedTuple):
    """What the funnel said of the marked clicks' partner."""

    answered_s: float
    clicks: int


def attribution_waits(marked: Sequence[Marked], looks: Sequence[PipelineLook]) -> Waits:
    """The last look must be after the end, when all is attributed."""
    waits = []
    for click in marked:
        # While clicks are brought from the disk to Redis they may be counted in both, hence more than there are.
        wanted = min(looks[-1].attributed, click.accepted)
        waits.append(next(look.answered_s for look in looks if look.attributed >= wanted) - click.answered_s)
    return _summed_up(waits)


def report_waits(marked: Sequence[Marked], looks: Sequence[ReportLook]) -> Waits:
    """Like attribution_waits, of the report."""
    return _summed_up(
        [
            next(look.answered_s for look in looks if look.clicks >= number) - click.answered_s
            for number, click in enumerate(marked, 1)
        ]
    )


def _summed_up(waits_s: list[float]) -> Waits:
    in_order = sorted(1000 * wait for wait in waits_s)
    p50, p99 = (round(in_order[int(len(in_order) * share)]) for share in (0.5, 0.99))
    return Waits(len(in_order), p50, p99, round(in_order[-1]))


class Freshness:
    """One measurement on a running server that has no partners yet."""

    def __init__(self, server: Server, rate: float, seconds: float) -> None:
        """`rate`: clicks a second, marked ones and those of sales not counted."""
        self._server = server
        self._rate = rate
        self._seconds = seconds
        self._traffic_is_over = threading.Event()
        self._all_is_seen = threading.Event()
        self._failures: list[Exception] = []
        self._marked: list[Marked] = []
        self._pipeline: list[PipelineLook] = []
        self._report: list[ReportLook] = []
        self._sales = 0
        self._not_counted = 0

    def measure(self) -> dict[str, Any]:
        """Traffic for the given seconds. Raises ServerBroke when something was not answered as it should be."""
        requests = self._join_partners()
        self._server.attributed()
        watchers = [
            self._begin(self._all_is_seen, PIPELINE_SECONDS, self._ask_pipeline),
            self._begin(self._all_is_seen, REPORT_SECONDS, self._ask_report),
        ]
        traffic = [
            self._begin(self._traffic_is_over, MARK_SECONDS, self._mark),
            self._begin(self._traffic_is_over, 1 / SALES_PER_SECOND, self._sell),
        ]
        try:
            # In a process of its own: threads of one Python would wait for each other.
            with ProcessPoolExecutor(1, get_context("spawn")) as other:
                flood = (self._server.tracker_port, requests, self._rate, self._seconds, CONNECTIONS)
                load = other.submit(steady_load, *flood).result()
            self._traffic_is_over.set()
            _join(traffic)
            self._server.attributed(LATE_SECONDS)
            poll("the report is complete", LATE_SECONDS, self._is_all_seen)
        finally:
            self._traffic_is_over.set()
            self._all_is_seen.set()
            _join([*traffic, *watchers])
        return {
            "clicks_per_second": round(load.rate),
            "not_answered": load.errors,
            "redirect_p99_ms": load.p99_ms,
            "sales": self._sales,
            "not_counted": self._not_counted,
            "attributed": asdict(attribution_waits(self._marked, self._pipeline)),
            "in_report": asdict(report_waits(self._marked, self._report)),
        }

    def _join_partners(self) -> list[bytes]:
        """Partners, every second recruited by the one before, and requests for their links."""
        paths = []
        for number in range(PARTNERS):
            body = {"partner_id": f"fresh-{number}", "email": f"{number}@fresh.example", "name": f"Partner {number}"}
            self._report_fact("/v1/partners", body | ({"recruiter_id": f"fresh-{number - 1}"} if number % 2 else {}))
            paths.append(f"/a/fresh-{number}")
        self._report_fact("/v1/partners", {"partner_id": MARKED, "email": "marked@fresh.example", "name": "Marked"})
        return [
            f"GET {paths[number % PARTNERS]} HTTP/1.1\r\nHost: bench\r\nUser-Agent: {browser}\r\n\r\n".encode()
            for number, browser in enumerate(BROWSERS)
        ]

    def _mark(self) -> None:
        if self._click(MARKED):
            answered_s = time.perf_counter()
            self._marked.append(Marked(answered_s, self._server.pipeline()["accepted"]))

    def _sell(self) -> None:
        """Somebody follows a link, signs up and pays."""
        number = self._sales
        visitor_id = self._click(f"fresh-{number % PARTNERS}")
        signup = {"license_id": f"fresh-{number}", "product": "livechat"}
        if visitor_id:
            signup["visitor_id"] = visitor_id
        self._report_fact("/v1/signups", signup)
        payment = {"payment_id": f"fresh-{number}", "license_id": f"fresh-{number}", "amount_cents": 2900}
        self._report_fact("/v1/payments", {**payment, "currency": "USD"})
        self._sales += 1

    def _click(self, partner_id: str) -> str | None:
        """Follow a partner's link. The visitor's id; None when the click is not promised to count."""
        answer = self._server.tracker("GET", f"/a/{partner_id}", **{"User-Agent": BROWSERS[0]})
        if answer.said != "counted":
            self._not_counted += 1
            return None
        return answer.cookie("lt_vid")

    def _report_fact(self, path: str, body: dict[str, Any]) -> None:
        """Report a fact; again after a 503, as callers are told."""

        def answered() -> Answer | None:
            answer = self._server.api(path, body)
            return None if answer.status == 503 else answer

        answer: Answer = poll(f"POST {path} is taken", LATE_SECONDS, answered)
        if answer.status not in (200, 201):
            raise ServerBroke(f"POST {path} answered {answer.status}: {answer.body.decode(errors='replace')}")

    def _ask_pipeline(self) -> None:
        said = self._server.pipeline()
        look = PipelineLook(time.perf_counter(), said["accepted"], said["attributed_facts"])
        self._pipeline.append(look)

    def _ask_report(self) -> None:
        today = datetime.now(UTC).date()
        days = {"date_from": str(today - timedelta(days=1)), "date_to": str(today + timedelta(days=1))}
        (item,) = self._server.admin("/v2/reports/funnel", partner_id=MARKED, **days)["items"]
        self._report.append(ReportLook(time.perf_counter(), item["clicks"]))

    def _is_all_seen(self) -> bool:
        """Whether the looks have come to the end. Raises what went wrong in a thread."""
        if self._failures:
            raise ServerBroke(f"{self._failures[0]!r}\n{self._server.log_tail()}") from self._failures[0]
        if not self._report or not self._pipeline:
            return False
        is_attributed = self._pipeline[-1].attributed >= self._pipeline[-1].accepted
        return is_attributed and self._report[-1].clicks >= len(self._marked)

    def _begin(self, end: threading.Event, every_seconds: float, do: Callable[[], None]) -> threading.Thread:
        """A thread that does something at a steady pace until the end or its first failure."""

        def run() -> None:
            due_s = time.perf_counter()
            while not end.wait(max(0.0, due_s - time.perf_counter())):
                try:
                    do()
                except Exception as error:
                    self._failures.append(error)
                    return
                due_s = max(due_s + every_seconds, time.perf_counter())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(LATE_SECONDS)
