"""The supervisor, with small processes: order, restarts, limits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import redis

from lasttouch import _admin_sign_in_link
from tests.serve_run import until
from tracker import supervisor
from tracker.run import sign_in_words
from tracker.supervisor import Role, RunFailed, Supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


READY = "while [ $# -gt 1 ]; do shift; done; echo ready > /proc/self/fd/$1; "


def script(name: str, text: str, stops: int = 1, needs: Sequence[str] = (), first: str = "") -> Role:
    """A role that is a shell script: it does `first`, says that it is ready, and does `text`."""
    return Role(name, ["/bin/sh", "-c", first + READY + text, name], stops=stops, stop_within_seconds=5.0, needs=needs)


async def supervise(roles: Sequence[Role], then: Callable[[], None]) -> None:
    async def announce() -> None:
        then()

    stopping: list[str] = []
    try:
        await Supervisor(roles, os.environ).run(announce, lambda: stopping.append("told"))
    finally:
        assert stopping == ["told"]


def test_roles_start_after_what_they_need_and_stop_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = f"trap 'echo $0 stops >> {log}; exit 0' TERM; echo $0 starts >> {log}; "
    loop = "while :; do sleep 0.05; done"
    roles = [
        script("late", loop, stops=0, needs=["early"], first=first),
        script("early", loop, stops=1, first=first),
    ]
    asyncio.run(supervise(roles, lambda: until_lines(log, 2)))
    assert log.read_text().splitlines() == ["early starts", "late starts", "late stops", "early stops"]


def read_lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def until_lines(log: Path, count: int) -> None:
    until("all have started", 10, lambda: len(read_lines(log)) == count)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_role_that_keeps_dying_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.01)
    with pytest.raises(RunFailed, match=r"weak ended with exit code 7; that was more than 10 times in 60 seconds"):
        asyncio.run(supervise([script("weak", "exit 7"), script("strong", "exec sleep 60")], lambda: None))


def test_a_vital_role_that_never_gets_ready_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "READY_WITHIN_SECONDS", 0.3)
    late = Role("late", ["/bin/sleep", "60"], stops=1, is_ready=lambda: False)
    with pytest.raises(RunFailed, match=r"late did not become ready in 0 seconds"):
        asyncio.run(supervise([late, script("strong", "exec sleep 60")], lambda: None))


def test_a_role_that_is_not_vital_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the app is while a store is away: the run announces itself when it is there."""
    monkeypatch.setattr(supervisor, "READY_WITHIN_SECONDS", 0.3)
    came = tmp_path / "came"
    late = Role("late", ["/bin/sh", "-c", f"sleep 1; touch {came}; sleep 60"], 1, is_ready=came.exists, is_vital=False)

    def then() -> None:
        assert came.exists()
        os.kill(os.getpid(), signal.SIGTERM)

    asyncio.run(supervise([late, script("strong", "exec sleep 60")], then))


def test_a_redis_that_takes_no_sign_in_link_does_not_end_the_run(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    words = partial(sign_in_words, _admin_sign_in_link, redis_url, "http://app.example")
    client.config_set("maxmemory", "1")
    try:
        link, explained = asyncio.run(words())
    finally:
        client.config_set("maxmemory", "0")
    assert (link, explained[:22]) == ("http://app.example", "(with the admin token;")
    assert asyncio.run(words())[0].startswith("http://app.example/sign-in?")
    client.close()


def test_a_role_that_is_not_vital_may_keep_dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.01)
    log = tmp_path / "log"
    weak = replace(script("weak", f"echo lives >> {log}; exit 7"), is_vital=False)

    async def told_to_stop_late() -> None:
        running = asyncio.create_task(supervise([weak, script("strong", "exec sleep 60")], lambda: None))
        await asyncio.to_thread(until, "many lives", 30, lambda: len(read_lines(log)) > 2 * supervisor.MOST_RESTARTS)
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    asyncio.run(told_to_stop_late())


def test_a_role_that_is_not_vital_must_become_ready_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.01)
    never = Role("never", ["/bin/sh", "-c", "exit 7", "never"], stops=1, is_vital=False)
    with pytest.raises(RunFailed, match="never ended with exit code 7"):
        asyncio.run(supervise([never, script("strong", "exec sleep 60")], lambda: None))


def test_a_wrong_setting_is_not_tried_again() -> None:
    broken = Role("broken", ["/bin/sh", "-c", "exit 2", "broken"], stops=1)
    with pytest.raises(RunFailed, match="broken did not start"):
        asyncio.run(supervise([broken], lambda: None))


def test_a_role_that_ignores_the_stop_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    deaf = Role("deaf", ["/bin/sh", "-c", "trap '' TERM; " + READY + "while :; do sleep 0.05; done", "deaf"], 1, 0.3)
    asyncio.run(supervise([deaf], lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert "deaf did not stop in 0.3 s and is killed" in caplog.text
