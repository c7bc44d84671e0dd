"""The load users, run by Locust against the real thing: no failures, and every click that they saw counted is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from loadtests.browsers import BROWSERS, CRAWLERS
from tests.harness import ADMIN_TOKEN, ROOT, Server, serving
from tracker.user_agent import read_user_agent

pytestmark = pytest.mark.alone

PARTNERS = 6
SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(tmp_path_factory.mktemp("load"))


def locust(server: Server, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A headless run; in a process of its own, for Locust replaces parts of the standard library."""
    hosts = ("--host", f"http://127.0.0.1:{server.tracker_port}", "--app-url", f"http://127.0.0.1:{server.app_port}")
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/locustfile.py"), "--headless"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LASTTOUCH_", "LOCUST_"))}
    return subprocess.run(
        [*command, "--only-summary", "--stop-timeout", "20", "--partners", str(PARTNERS), *hosts, *arguments],
        cwd=ROOT,
        env={**clean, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )


def printed_stats(output: str) -> list[dict[str, Any]]:
    """The JSON array that `--json` prints among the lines of a run."""
    lines = output.splitlines()
    stats: list[dict[str, Any]] = json.loads("\n".join(lines[lines.index("[") : lines.index("]") + 1]))
    return stats


def test_every_answer_is_right_and_every_fact_is_counted(server: Server) -> None:
    before = server.attributed()["stored"]
    flags = ("--users", "40", "--spawn-rate", "40", "--run-time", "4s", "--json")
    done = locust(server, *flags, LASTTOUCH_ADMIN_TOKEN=ADMIN_TOKEN)
    assert done.returncode == 0, done.stdout
    asked = {entry["name"]: entry["num_requests"] for entry in printed_stats(done.stdout)}
    facts = {"api: signups", "api: payments", "api: refunds", "api: license-events", "touch"}
    assert {"click: new visitor", "click: bot", "api: signups", "app: sign in", "touch"} <= set(asked)
    clicks = sum(count for name, count in asked.items() if name.startswith("click: "))
    after = server.attributed()
    accepted = PARTNERS + clicks + sum(asked.get(name, 0) for name in facts)
    # A write that timed out may have reached Redis all the same; then it comes again, and counts once (journal.py).
    assert after["stored"] - before == accepted
    assert after["stored"] == after["accepted"] - after["duplicates"]
    (funnel,) = server.admin("/v2/reports/funnel")["items"]
    humans = asked["click: new visitor"] + asked.get("click: returning visitor", 0) + asked["touch"]
    assert funnel["clicks"] == humans
    assert 0 < funnel["trials"] <= asked["api: signups"]


def test_an_answer_that_is_not_as_agreed_fails_the_run(server: Server) -> None:
    """Payments in a currency that the program does not have: 422."""
    flags = ("--users", "4", "--spawn-rate", "4", "--run-time", "2s", "--currency", "EUR", "BillingUser")
    done = locust(server, *flags, LASTTOUCH_ADMIN_TOKEN=ADMIN_TOKEN)
    assert done.returncode == 1
    assert "422: " in done.stdout and "api: payments" in done.stdout


def test_without_a_token_that_is_right_it_says_so_and_sends_nothing(server: Server) -> None:
    for environ, words in (({}, "give the admin token"), ({"LASTTOUCH_ADMIN_TOKEN": "wrong"}, "answers 401")):
        done = locust(server, "--users", "1", "--run-time", "20s", **environ)
        assert done.returncode == 1
        assert words in done.stdout
        assert "click: " not in done.stdout


def test_the_browsers_are_five_hundred_people_and_some_bots() -> None:
    assert len(set(BROWSERS)) == len(BROWSERS) >= 500
    assert [agent for agent in BROWSERS if read_user_agent(agent).is_bot] == []
    assert [agent for agent in CRAWLERS if not read_user_agent(agent).is_bot] == []
    assert {read_user_agent(agent).device for agent in BROWSERS} == {"desktop", "mobile", "tablet"}
