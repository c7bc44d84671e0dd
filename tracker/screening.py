"""Screening: what a request itself says of its click (R1), as a list of named steps. The first that speaks decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tracker.events import Verdict
from tracker.program import Program
from tracker.user_agent import MAX_USER_AGENT, UserAgent, read_user_agent
from tracker.visitors import opted_out

_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")


@dataclass(frozen=True, slots=True)
class Screened:
    """The verdict on a request (R1), whether its visitor opted out (then no id may be kept), and its browser."""

    verdict: Verdict
    is_opted_out: bool
    user_agent: UserAgent


class Request(NamedTuple):
    """What the steps look at. `headers` has lower-case names."""

    method: str
    headers: Mapping[str, str]
    user_agent: UserAgent
    is_opted_out: bool


def is_head(request: Request) -> bool:
    """A HEAD asks where a link leads; nobody sees the page."""
    return request.method == "HEAD"


def is_prefetch(request: Request) -> bool:
    """A browser or mail program loads the page before anybody asked for it."""
    for name in _PREFETCH_HEADERS:
        value = request.headers.get(name)
        if value is not None and any(word in value.lower() for word in _PREFETCH_WORDS):
            return True
    return False


def is_bot(request: Request) -> bool:
    """A program follows the link: a crawler, a link preview, a monitor, an HTTP library; or nobody says who."""
    return request.user_agent.is_bot


def has_opted_out(request: Request) -> bool:
    """The visitor asked not to be followed."""
    return request.is_opted_out


Step = tuple[str, Callable[[Request], bool], Verdict]

STEPS: tuple[Step, ...] = (
    ("head", is_head, Verdict.HEAD),
    ("prefetch", is_prefetch, Verdict.PREFETCH),
    ("bot", is_bot, Verdict.BOT),
    ("opted out", has_opted_out, Verdict.OPTED_OUT),
)


def screen(method: str, headers: dict[str, str], program: Program) -> Screened:
    """The verdict on a request: that of the first step that speaks, `human` when none does."""
    browser = read_user_agent(headers.get("user-agent", "")[:MAX_USER_AGENT])
    request = Request(method, headers, browser, opted_out(headers, program))
    for _, speaks, verdict in STEPS:
        if speaks(request):
            return Screened(verdict, request.is_opted_out, browser)
    return Screened(Verdict.HUMAN, request.is_opted_out, browser)
