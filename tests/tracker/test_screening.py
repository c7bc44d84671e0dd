"""R1, the request's part: what each step says, and which comes first."""

from __future__ import annotations

import pytest

from tracker.events import Verdict
from tracker.program import Program
from tracker.screening import STEPS, screen
from tracker.user_agent import MAX_USER_AGENT

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("method", "headers", "verdict"),
    [
        ("GET", {}, Verdict.HUMAN),
        ("HEAD", {}, Verdict.HEAD),
        ("GET", {"sec-purpose": "prefetch"}, Verdict.PREFETCH),
        ("GET", {"sec-purpose": "prefetch;prerender"}, Verdict.PREFETCH),
        ("GET", {"purpose": "Prefetch"}, Verdict.PREFETCH),
        ("GET", {"x-purpose": "preview"}, Verdict.PREFETCH),
        ("GET", {"x-moz": "prefetch"}, Verdict.PREFETCH),
        ("GET", {"purpose": "shopping"}, Verdict.HUMAN),
        ("GET", {"user-agent": "curl/8.6.0"}, Verdict.BOT),
        ("GET", {"user-agent": ""}, Verdict.BOT),
        ("GET", {"sec-gpc": "1"}, Verdict.OPTED_OUT),
        ("GET", {"dnt": "1"}, Verdict.OPTED_OUT),
        ("GET", {"dnt": "0", "sec-gpc": "0"}, Verdict.HUMAN),
        ("GET", {"cookie": "a=b; lt_optout=1"}, Verdict.OPTED_OUT),
        ("GET", {"cookie": "lt_optout=0; xlt_optout=1"}, Verdict.HUMAN),
        ("HEAD", {"purpose": "prefetch", "user-agent": "curl/8.6.0", "dnt": "1"}, Verdict.HEAD),
        ("GET", {"purpose": "prefetch", "user-agent": "curl/8.6.0", "dnt": "1"}, Verdict.PREFETCH),
        ("GET", {"user-agent": "curl/8.6.0", "dnt": "1"}, Verdict.BOT),
    ],
)
def test_the_first_step_that_speaks_decides(method: str, headers: dict[str, str], verdict: Verdict) -> None:
    assert screen(method, {"user-agent": CHROME, **headers}, Program()).verdict is verdict


def test_an_opted_out_visitor_is_known_whatever_the_verdict() -> None:
    assert screen("HEAD", {"dnt": "1", "user-agent": "curl/8"}, Program()).is_opted_out


def test_signals_that_the_program_does_not_honour() -> None:
    program = Program(honor_dnt=False, honor_gpc=False)
    assert screen("GET", {"user-agent": CHROME, "dnt": "1", "sec-gpc": "1"}, program).verdict is Verdict.HUMAN
    assert screen("GET", {"user-agent": CHROME, "cookie": "lt_optout=1"}, program).verdict is Verdict.OPTED_OUT


def test_long_and_strange_user_agents_are_cut_and_never_fail() -> None:
    for text in ("x" * 100_000, "(" * 5_000, "Mozilla/5.0 " + "(" * 5_000, "\u0000\uffff" * 3_000, "a@" * 4_000):
        screen("GET", {"user-agent": text}, Program())
    cut = CHROME + " " * MAX_USER_AGENT + "bot"
    assert screen("GET", {"user-agent": cut}, Program()).verdict is Verdict.HUMAN


def test_every_step_has_a_verdict_of_its_own() -> None:
    assert len({verdict for _, _, verdict in STEPS}) == len(STEPS)
