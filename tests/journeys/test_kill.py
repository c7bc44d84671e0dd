"""`kill -9` in the middle of work: what was answered `counted` or 2xx is there exactly once.

Rounds of traffic and kills are `lasttouch bench kill`'s; a few of them run here, chosen by their seed. An import has a
test of its own: it is cut off, and the same file is sent again.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.stored import read_stored
from tests.harness import ROOT, Journey, Server, poll, serving

pytestmark = pytest.mark.alone

ROUNDS = 4
SEED = 1571  # their order, and Redis with attribution as those who die again
WAYS = {"redis_stays_away", "they_die_again", "the_supervisor_dies", "everything_dies_while_starting"}
ROUNDS_SECONDS = 300


def test_rounds_of_kills() -> None:
    """Redis, workers, attribution, the supervisor and everything at once, in traffic: no promise is broken."""
    command = [sys.executable, "-m", "lasttouch", "bench", "kill", "--rounds", str(ROUNDS), "--seconds", "1"]
    done = subprocess.Popen(
        [*command, "--seed", str(SEED)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        printed, told = done.communicate(timeout=ROUNDS_SECONDS)
    finally:
        done.terminate()  # ends its server too
        done.wait(30)
    assert done.returncode == 0, told
    summary: dict[str, Any] = json.loads(printed.splitlines()[-1])
    assert (summary["seed"], summary["rounds"]) == (SEED, ROUNDS)
    assert set(summary["breakages"]) == WAYS
    assert summary["clicks_promised"] > 50 and summary["facts_promised"] > 20, summary


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that a test may kill."""
    with tempfile.TemporaryDirectory(prefix="lt-kill-") as folder:
        yield from serving(Path(folder))


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
    assert Counter(click["visitor_id"] for click in read_stored(own_server).clicks) == Counter(visitors)
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
