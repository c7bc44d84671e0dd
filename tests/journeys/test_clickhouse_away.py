"""ClickHouse hangs, is not there, or its disk takes no more: what waits is bounded, nothing is lost, and it drains.

The journal is as small as may be, so that it fills up at once: 1,000 clicks, 1,000 other facts, and a spool of a MiB.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BROWSER, ROOT, Answer, Journey, Server, Visitor, poll, send, serving

pytestmark = pytest.mark.alone

LIMIT = 1_000
TIGHT = {"LASTTOUCH_JOURNAL_CLICKS": str(LIMIT), "LASTTOUCH_SPOOL_MEGABYTES": "1"}
CLICKERS = 8
SOON_SECONDS = 20.0
READY_SECONDS = 60.0


@pytest.fixture(scope="module")
def tight() -> Iterator[Server]:
    """A server with a small journal and a small spool."""
    with tempfile.TemporaryDirectory(prefix="lt-tight-") as folder:
        yield from serving(Path(folder), environ=TIGHT)


@dataclass
class Story:
    """One partner's clicks and sales while ClickHouse is away, and what callers were told of them."""

    journey: Journey
    imported: int = 0
    facts: int = 0
    said: Counter[str] = field(default_factory=Counter)

    @property
    def server(self) -> Server:
        return self.journey.server

    def import_clicks(self, number: int) -> Answer:
        lines = [
            {"type": "click", "click_id": str(uuid.uuid4()), "clicked_at": "2026-01-05T10:00:00Z",
             "visitor_id": str(uuid.uuid4()), "partner_id": self.journey.id("P")}
            for _ in range(number)
        ]  # fmt: skip
        answer = self.server.api("/v1/import", "".join(json.dumps(line) + "\n" for line in lines))
        self.imported += answer.json["accepted"] if answer.status == 200 else 0
        return answer

    def click(self, number: int) -> None:
        """So many visitors follow the partner's link, some at a time; what they were told adds up in `said`."""

        def click_on(share: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.tracker_port, timeout=20)
            for _ in range(share):
                connection.request("GET", f"/a/{self.journey.id('P')}", headers={"User-Agent": BROWSER})
                answer = connection.getresponse()
                answer.read()
                is_redirect = answer.status == 302 and answer.headers["Location"]
                self.said[str(answer.headers["X-Lasttouch"]) if is_redirect else f"no redirect: {answer.status}"] += 1
            connection.close()

        threads = [threading.Thread(target=click_on, args=(number // CLICKERS,)) for _ in range(CLICKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.said.keys() <= {"counted", "not-recorded"}, "visitors are redirected whatever happens"

    @property
    def clicks(self) -> range:
        """How many clicks there are: all that were imported or counted; one that was `not-recorded` may be kept."""
        certain = self.imported + self.said["counted"]
        return range(certain, certain + self.said["not-recorded"] + 1)

    def click_as(self, visitor: Visitor) -> None:
        visitor.click(self.journey.id("P"))
        self.said["counted"] += 1

    def sell(self, name: str, visitor_id: str) -> None:
        """The visitor signs up and pays 29.00."""
        self.journey.sign_up(f"L{name}", visitor_id=visitor_id)
        self.journey.pay(f"L{name}", f"pay{name}", 2900)
        self.facts += 2

    def check(self, before: dict[str, Any]) -> None:
        """Everything that was promised is stored once, and the ledger is what the facts give."""
        self.check_stored(before)
        [item] = self.server.admin("/v2/reports/funnel", date_from="2026-01-01", date_to="2099-01-01",
                                   partner_id=self.journey.id("P"), group_by="none")["items"]  # fmt: skip
        assert item["clicks"] in self.clicks
        audited = self.server.run("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr

    def check_stored(self, before: dict[str, Any]) -> None:
        after = self.server.attributed()
        assert after["accepted"] == sum(after[part] for part in ("stored", "duplicates", "quarantined"))
        assert (after["pending"], after["spooled"], after["quarantined"]) == (0, 0, before["quarantined"])
        assert not after["journal"]["full"] and after["journal"]["waiting_clicks"] == 0
        assert after["stored"] - before["stored"] - self.facts in self.clicks


def begin(server: Server) -> tuple[Story, dict[str, Any]]:
    story = Story(Journey(server))
    story.journey.join("P", joined_at="2025-01-01T00:00:00Z")
    return story, server.attributed()


def refused(answer: Answer, why: str) -> None:
    assert answer.status == 503, answer.body
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert why in answer.json["detail"]


def process(server: Server, *words: str) -> int:
    [pid] = [pid for pid, command in server.processes().items() if all(word in command for word in words)]
    return pid


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    """The process that has ClickHouse does not move."""
    pid = process(server, " reports ", "--with-attribution")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def unwritable(server: Server) -> Iterator[None]:
    """The kernel refuses what the process that has ClickHouse writes to files, as a full disk does."""
    pid = process(server, " reports ", "--with-attribution")
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def metric(server: Server, name: str) -> float:
    """The sum over the series of one worker, whichever answers."""
    text = send(server.tracker_port, "GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


def test_it_hangs(tight: Server) -> None:
    """Journal full: the spool takes clicks. Spool full as well: conversions are refused. Then all of it drains."""
    story, before = begin(tight)
    buyer = story.journey.visitor()
    with hanging(tight):
        assert story.import_clicks(LIMIT).status == 200
        refused(story.import_clicks(1), "The journal is full")
        assert tight.pipeline()["journal"]["waiting_clicks"] == LIMIT
        assert tight.pipeline()["journal"]["full"]

        story.click_as(buyer)
        story.click(80)
        assert LIMIT + tight.pipeline()["spooled"] in story.clicks
        story.sell("early", buyer.id)
        assert Server.is_ready(tight.tracker_port), "clicks have room on the disk"

        lost = 0
        while lost < 400:
            lost = -story.said["not-recorded"]
            story.click(400)
            lost += story.said["not-recorded"]
            assert sum(story.said.values()) < 10_000
        poll("both workers know", SOON_SECONDS, lambda: not any(Server.is_ready(tight.tracker_port) for _ in range(8)))
        payment = {"payment_id": story.journey.id("no"), "license_id": story.journey.id("Learly"),
                   "amount_cents": 100, "currency": "USD"}  # fmt: skip
        refused(tight.api("/v1/payments", payment), "the disk takes no more clicks")
        refused(tight.api("/v1/import", json.dumps({"type": "payment", **payment})), "the disk takes no more clicks")
        full = tight.pipeline()
        assert full["accepted"] == full["stored"] + full["pending"] + full["spooled"]
        assert full["accepted"] - before["accepted"] - story.facts in story.clicks
        assert full["journal"]["waiting_clicks"] == LIMIT
        assert full["spool"]["bytes"] <= full["spool"]["limit_bytes"] == 1 << 20
        poll("a worker looks", SOON_SECONDS, lambda: metric(tight, "lasttouch_journal_waiting_clicks") == LIMIT)
        assert metric(tight, "lasttouch_journal_limit_clicks") == LIMIT
        assert metric(tight, "lasttouch_journal_full") == 1
    story.check(before)
    assert story.journey.net("payearly") == {(1, story.journey.id("P")): 580}, "the click on the disk won (R16)"
    assert Server.is_ready(tight.tracker_port) and metric(tight, "lasttouch_journal_full") == 0
    assert "the journal is full" in tight.log.read_text() and "Redis takes clicks again" in tight.log.read_text()


def test_it_is_slow(tight: Server) -> None:
    """It moves for a moment now and then: the journal fills up and opens again, and the spool with it."""
    story, before = begin(tight)
    for _ in range(2):
        # An import is refused until the worker that it comes to has seen that there is room again.
        poll("an import is taken", SOON_SECONDS, lambda: story.import_clicks(LIMIT // 2).status == 200)
        with hanging(tight):
            while not tight.pipeline()["journal"]["full"]:
                story.click(400)
            story.click(80)
            assert tight.pipeline()["journal"]["waiting_clicks"] <= LIMIT
    story.check(before)


def test_its_disk_takes_no_more(tight: Server) -> None:
    """Loads fail and are tried again; the app says so, and goes on when the disk takes bytes again."""
    story, before = begin(tight)
    buyer = story.journey.visitor()
    with unwritable(tight):
        story.click_as(buyer)
        story.sell("one", buyer.id)
        poll("loads fail", SOON_SECONDS, lambda: not Server.is_ready(tight.app_port))
        missing = send(tight.app_port, "GET", "/health/ready").json["missing"]
        assert missing == ["attribution"]
        assert story.import_clicks(LIMIT - 1).status == 200
        story.click(160)
        waiting = tight.pipeline()
        assert waiting["stored"] == before["stored"]
        assert waiting["journal"]["waiting_clicks"] == LIMIT and waiting["spooled"] >= 160 - story.said["not-recorded"]
        assert "Fails" in health_page(tight)
    story.check(before)
    assert story.journey.net("payone") == {(1, story.journey.id("P")): 580}
    assert Server.is_ready(tight.app_port)
    assert "loading works again" in tight.log.read_text()


@contextmanager
def role(server: Server, name: str, port: int, *flags: str) -> Iterator[None]:
    """One role of several machines, from its start until it has stopped as an operator stops it."""
    command = server.command(name, "--data", str(server.data), *flags)
    with server.log.open("ab") as log:
        running = subprocess.Popen(command, cwd=ROOT, env=server.environ, stdout=log, stderr=log)
    try:
        poll(f"{name} is ready", READY_SECONDS, lambda: running.poll() is not None or Server.is_ready(port))
        assert running.poll() is None, server.log_tail()
        yield
    finally:
        running.terminate()
        running.wait(READY_SECONDS)


def test_it_is_not_there(empty_redis_url: str, tmp_path: Path) -> None:
    """Trackers take clicks and sales before there ever was an attribution process, and it loads them when it comes."""
    server = Server(tmp_path / "data", environ={**TIGHT, "LASTTOUCH_REDIS_URL": empty_redis_url})
    story = Story(Journey(server))
    with role(server, "tracker", server.tracker_port, "--tracker-port", str(server.tracker_port)):
        nothing = server.pipeline()
        story.journey.join("P", joined_at="2025-01-01T00:00:00Z")
        assert story.import_clicks(LIMIT // 2).status == 200
        story.click(800)
        buyer = story.journey.visitor()
        story.click_as(buyer)
        story.sell("one", buyer.id)
        story.facts += 1  # the join
        waiting = server.pipeline()
        assert waiting["pending"] + waiting["spooled"] == waiting["accepted"] >= story.clicks[0] + story.facts
        assert waiting["journal"]["full"] and waiting["spooled"] >= story.clicks[0] - LIMIT
        with role(server, "attribution", server.app_port, "--app-port", str(server.app_port)):
            story.check_stored(nothing)


def health_page(server: Server) -> str:
    """What an admin sees who signs in by the link that the start printed."""
    [link] = re.findall(r"/sign-in\?key=\S+", server.log.read_text())
    welcome = send(server.app_port, "GET", link)
    cookie = f"lt_session={welcome.cookie('lt_session')}"
    return send(server.app_port, "GET", "/admin/", headers={"Cookie": cookie}).body.decode()
