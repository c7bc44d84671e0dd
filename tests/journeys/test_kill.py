"""`kill -9` in the middle of traffic: what was answered `counted` or 2xx is there exactly once.

Visitors click once each, so that a click is known by its visitor. Payments are one each for licenses of their own.
A caller whose call got no answer may not know whether it was taken: that one may be there once, or not at all.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ADMIN_TOKEN, BROWSER, ROOT, Journey, Server, poll, send, serving

TRAFFIC_SECONDS = 4.0
CLICKERS = 4
PAYERS = 2

# Run where nothing else has chDB loaded: one process may open a data folder once.
STORED_VISITORS = """
import json, sys
from attribution.warehouse import Warehouse
query = "select toString(visitor_id) as visitor_id from clicks where partner_id = {partner_id:String}"
rows = Warehouse.open(sys.argv[1]).rows(query, partner_id=sys.argv[2])
print(json.dumps([row["visitor_id"] for row in rows]))
"""


@dataclass
class Traffic:
    """What many callers at once were told. Lists are only appended to, each by many threads."""

    server: Server
    partner_id: str
    key: str
    counted: list[str] = field(default_factory=list)
    """Visitor ids of clicks that were answered `counted`."""
    unsure_clicks: list[int] = field(default_factory=list)
    """One per click that got no answer."""
    paid: list[str] = field(default_factory=list)
    """Payment ids that were answered 2xx."""
    unsure_payments: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    """Answers that promise nothing, by what they said: 503 and `not-recorded` are all right while a store is down."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def click_on(self) -> None:
        while not self.stopped.is_set():
            try:
                answer = send(self.server.tracker_port, "GET", f"/a/{self.partner_id}", headers={"User-Agent": BROWSER})
            except (OSError, http.client.HTTPException):
                self.unsure_clicks.append(1)
                time.sleep(0.02)
                continue
            visitor_id = answer.cookie("lt_vid")
            if answer.status == 302 and answer.said == "counted" and visitor_id:
                self.counted.append(visitor_id)
            else:
                self.other[f"{answer.status} {answer.said}"] += 1

    def pay_on(self, payer: int) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            name = f"{payer}-{number}.{self.key}"
            try:
                self.pay(name)
            except (OSError, http.client.HTTPException):
                self.unsure_payments.append(f"pay{name}")
                time.sleep(0.02)

    def pay(self, name: str) -> None:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        signup = {"license_id": f"L{name}", "product": "livechat", "partner_id": self.partner_id}
        payment = {"payment_id": f"pay{name}", "license_id": f"L{name}", "amount_cents": 1000, "currency": "USD"}
        for path, body in (("/v1/signups", signup), ("/v1/payments", payment)):
            answer = send(self.server.tracker_port, "POST", path, body, headers)
            if answer.status not in (200, 201):
                self.other[f"{path} {answer.status}"] += 1
                assert answer.status != 503 or answer.headers["Retry-After"]
                return
        self.paid.append(f"pay{name}")

    def run(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Traffic for `seconds`, with `meanwhile` after a third of it."""
        threads = [threading.Thread(target=self.click_on) for _ in range(CLICKERS)]
        threads += [threading.Thread(target=self.pay_on, args=(number,)) for number in range(PAYERS)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(seconds / 3)
            meanwhile()
            time.sleep(seconds * 2 / 3)
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may kill."""
    with tempfile.TemporaryDirectory(prefix="lt-kill-") as folder:
        yield from serving(Path(folder))


def begin(server: Server) -> Traffic:
    journey = Journey(server)
    journey.join("P")
    return Traffic(server, journey.id("P"), journey.key)


def check(traffic: Traffic) -> None:
    """Everything that was promised is stored exactly once, and the ledger is what the facts give."""
    server = traffic.server
    pipeline = server.attributed()
    parts = ("stored", "duplicates", "quarantined", "pending", "spooled")
    assert pipeline["accepted"] == sum(pipeline[part] for part in parts)
    assert (pipeline["quarantined"], pipeline["pending"], pipeline["spooled"]) == (0, 0, 0)
    assert len(traffic.counted) > 50 and len(traffic.paid) > 10, traffic.other

    lines = Counter(line["payment_id"] for line in server.lines(partner_id=traffic.partner_id, limit=500))
    assert set(traffic.paid) - set(lines) == set()
    assert set(lines) - set(traffic.paid) <= set(traffic.unsure_payments)
    assert set(lines.values()) == {1}

    running = server.run("audit")
    assert running.returncode == 0, running.stdout + running.stderr
    assert server.stop() == 0
    stopped = server.run("audit")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr

    visitors = Counter(stored_visitors(server, traffic.partner_id))
    assert set(traffic.counted) - set(visitors) == set()
    assert [visitor for visitor, times in visitors.items() if times != 1] == []
    # Where both stores were too slow for a waiting visitor, the click may have been kept after the answer.
    # A worker that could not ask Redis calls its partner unknown; the click is kept all the same, for R16 to judge.
    unsure = len(traffic.unsure_clicks) + traffic.other["302 not-recorded"] + traffic.other["302 unknown-partner"]
    assert len(visitors) - len(traffic.counted) <= unsure, traffic.other


def stored_visitors(server: Server, partner_id: str) -> list[str]:
    """The visitors of a partner's stored clicks, from the stopped server's ClickHouse."""
    done = subprocess.run(
        [sys.executable, "-c", STORED_VISITORS, f"chdb://{server.data / 'clickhouse'}", partner_id],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    visitors: list[str] = json.loads(done.stdout.splitlines()[-1])
    return visitors


def find(server: Server, *words: str) -> int:
    """The pid of the one process (or the first of several like it) whose command line has all `words`."""
    found = [pid for pid, command in sorted(server.processes().items()) if all(word in command for word in words)]
    assert found, server.processes()
    return found[0]


VICTIMS = {
    "Redis": ("redis-server",),
    "a tracker worker": (" tracker --worker",),
    "the attribution process": (" reports ", "--with-attribution"),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_and_started_again(own_server: Server, victim: str) -> None:
    """One process dies and `serve` starts it again, under traffic."""
    traffic = begin(own_server)

    def kill() -> None:
        os.kill(find(own_server, *VICTIMS[victim]), signal.SIGKILL)

    traffic.run(TRAFFIC_SECONDS, kill)
    own_server.wait_until_ready()
    check(traffic)


def test_the_supervisor_is_killed(own_server: Server) -> None:
    """`serve` itself dies: its processes go with it, and the next start on the folder is not held up by leftovers."""
    traffic = begin(own_server)
    before = own_server.processes()
    assert own_server.process is not None
    traffic.run(TRAFFIC_SECONDS, own_server.process.kill)
    own_server.process.wait(10)
    poll("the processes of the dead run are gone", 10, lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    own_server.start()
    check(traffic)


def test_an_import_is_cut_off_by_a_kill(own_server: Server) -> None:
    """Everything dies in the middle of an import; the same import again takes the rest, and nothing twice."""
    journey = Journey(own_server)
    journey.join("P", joined_at="2025-01-01T00:00:00Z")
    lines = import_of(journey, 15_000)
    broken: list[Exception] = []

    def import_once() -> None:
        try:
            journey.import_lines(lines)
        except (OSError, http.client.HTTPException) as error:
            broken.append(error)

    importing = threading.Thread(target=import_once)
    importing.start()
    poll("some lines are in", 30, lambda: own_server.pipeline()["accepted"] > 2000)
    own_server.kill_all()
    importing.join(30)
    assert broken, "the import was over before the kill"
    own_server.start()
    again = journey.import_lines(lines)
    assert again["accepted"] + again["duplicates"] == len(lines) and again["rejected"] == []
    own_server.attributed()
    visitors = {line["visitor_id"] for line in lines if line["type"] == "click"}
    paid = {line["payment_id"] for line in lines if line["type"] == "payment"}
    ledger = Counter(line["payment_id"] for line in own_server.lines(partner_id=journey.id("P"), limit=500))
    assert ledger == Counter(paid)
    assert own_server.stop() == 0
    assert Counter(stored_visitors(own_server, journey.id("P"))) == Counter(visitors)
    audited = own_server.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr


def import_of(journey: Journey, clicks: int) -> list[dict[str, Any]]:
    """`clicks` clicks of as many visitors, every hundredth of whom signs up and pays."""
    lines: list[dict[str, Any]] = []
    for number in range(clicks):
        visitor_id = str(uuid.uuid4())
        lines.append(
            {
                "type": "click",
                "click_id": str(uuid.uuid4()),
                "clicked_at": "2026-01-05T10:00:00Z",
                "visitor_id": visitor_id,
                "partner_id": journey.id("P"),
            }
        )
        if number % 100 == 0:
            name = journey.id(f"{number}")
            at = "2026-01-06T10:00:00Z"
            signup = {"license_id": name, "product": "livechat", "visitor_id": visitor_id, "signed_up_at": at}
            payment = {"payment_id": name, "license_id": name, "amount_cents": 1000, "currency": "USD", "paid_at": at}
            lines += [{"type": "signup", **signup}, {"type": "payment", **payment}]
    return lines


def test_all_killed_at_once(own_server: Server) -> None:
    """Every process dies at one moment; a new start on the same folder goes on."""
    traffic = begin(own_server)
    traffic.run(TRAFFIC_SECONDS, own_server.kill_all)
    assert own_server.processes() == {}
    own_server.start()
    check(traffic)


def test_killed_again_and_again(own_server: Server) -> None:
    """The attribution process dies several times in short succession, in loads and rounds: still exactly once."""
    traffic = begin(own_server)

    def kill() -> None:
        for _ in range(3):
            os.kill(find(own_server, *VICTIMS["the attribution process"]), signal.SIGKILL)
            own_server.wait_until_ready()

    traffic.run(TRAFFIC_SECONDS, kill)
    own_server.wait_until_ready()
    check(traffic)
