"""Screening: what a request itself says of its click (R1), as a list of named steps. The first that speaks decides.

Two libraries know thousands of crawlers by name (`crawlerdetect`, and `user-agents` through its device family). They
miss those that nobody has listed yet, so three things that no browser does are looked for as well: a user agent
without any browser's mark, one that carries an address to complain to, and one with a word of the automation trade.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import user_agents
from crawlerdetect import CrawlerDetect

from tracker.events import Verdict
from tracker.program import Program
from tracker.visitors import opted_out

MAX_USER_AGENT = 512
# Distinct strings that are remembered; reading one anew takes about a millisecond, remembered one well under a
# microsecond.
REMEMBERED_USER_AGENTS = 20_000

# Every browser writes one of these: the common ones, an in-app browser's own, then feature phones of before 2012.
_BROWSER_MARK = re.compile(
    r"Mozilla/\d|Opera[/ ]\d|AppleWebKit|FBAN/"
    r"|\b(?:MIDP|CLDC|UCWEB|UCBrowser|Obigo|NetFront|Teleca|Openwave|UP\.Browser|WAP)\b",
    re.IGNORECASE,
)
# `Mozilla/5.0` and no more, or with a comment that names no system.
_BARE_MARK = re.compile(r"\s*Mozilla/\d(?:\.\d+)?\s*(?:\((?:compatible;?)?\s*\))?\s*", re.IGNORECASE)
# Browsers call themselves `compatible` only as Internet Explorer, Konqueror and their kind did.
_COMPATIBLE = re.compile(
    r"\bcompatible\b[;,]?(?!\s*[;,]?\s*(?:MSIE|MSPIE|Konqueror|IEMobile|OmniWeb|iCab|IBrowse|AOL)\b)", re.IGNORECASE
)
# Whom to complain to: a URL, an e-mail address, a domain.
_ADDRESS = re.compile(
    r"https?:|\bwww\.|\S@\S+\.\w|\[at\]|\b[\w-]+\.(?:com|org|net|io|ai|dev|app|html)\b", re.IGNORECASE
)
# Words of the trade.
_TRADE = re.compile(
    r"bot\b|bot[/_-]|crawl|spider|scrap(?:e|ing|y)|slurp|fetch(?!_)|headless|phantomjs|slimerjs|puppeteer|playwright"
    r"|selenium|webdriver|cypress|lighthouse|prerender|synthetic|uptime|monitor|preview|unfurl|archiv|validator|scanner"
    r"|scanning|scan/|\bscan\b|agent\b|watcher|watchtowr|audit|inspect|verif(?:y|ier|ication)|check(?:er|ly)|screenshot"
    r"|snapshot(?!/)|research\b|\bsecurity(?!pay|installed)|pingdom|ptst/|gtmetrix|site24x7|newrelic|datadog|catchpoint|silktide|hotjar"
    r"|appinsights|http-?client|httpunit|facebookexternal|meta-external|-user/\d|google-(?!TR)|extractor|harvest"
    r"|downloader|probe|analyz|analys",
    re.IGNORECASE,
)
# What looks like one of the above and is a person's: names of apps (`com.google.GoogleMobile`), phones whose makers
# chose an unlucky name, and the brands that internet providers once wrote into Internet Explorer.
_HUMAN_WORDS = re.compile(
    r"\b(?:com|net|org)(?:\.\w+){2,}|CUBOT\w*|IDbot|POWER BOT|\b[MB] bot\b|(?<=MSIE )[^()]*[^()]", re.IGNORECASE
)
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")


class UserAgent(NamedTuple):
    """What a user agent string says. `device` is desktop, mobile, tablet or other; families as user-agents names
    them."""

    is_bot: bool
    device: str
    browser: str
    os: str


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


_crawlers = CrawlerDetect()


@lru_cache(maxsize=REMEMBERED_USER_AGENTS)
def read_user_agent(text: str) -> UserAgent:
    """What a user agent string (cut to MAX_USER_AGENT by the caller) says. An empty one is a bot's."""
    if not text.strip():
        return UserAgent(True, "other", "", "")
    parsed = user_agents.parse(text)
    is_crawler = parsed.is_bot or _crawlers.is_crawler(text) or looks_automated(text)
    return UserAgent(is_crawler, _device(parsed), _family(parsed.browser.family), _family(parsed.os.family))


def looks_automated(text: str) -> bool:
    """Whether a user agent does what no browser does, whoever's it is."""
    if _BROWSER_MARK.search(text) is None or _BARE_MARK.fullmatch(text):
        return True
    rest = _HUMAN_WORDS.sub(" ", text)
    return any(pattern.search(rest) for pattern in (_COMPATIBLE, _ADDRESS, _TRADE))


def _device(parsed: user_agents.parsers.UserAgent) -> str:
    text = parsed.ua_string
    # user-agents takes these phones for tablets, and the BSDs' desktops for nothing.
    if "Mobile;" in text or parsed.browser.family == "Opera Mini":
        return "mobile"
    if parsed.is_tablet:
        return "tablet"
    if parsed.is_mobile:
        return "mobile"
    return "desktop" if parsed.is_pc or "X11;" in text else "other"


def _family(family: str) -> str:
    return "" if family == "Other" else family[:64]
