"""What a user agent string says: whether a program sent it (R1), and on what device, browser and system.

Two lists know thousands of crawlers by name: ua-parser's and crawlerdetect's. They miss those that nobody has listed
yet, so three things that no browser does are looked for as well: a user agent without any browser's mark, one that
carries an address to complain to, and one with a word of the automation trade.

A string is new to a worker once, and then on the way of a redirect. Both lists are therefore searched by the engine of
`ua-parser-rs`, which takes all patterns in one pass, in time linear in the string: about 0.1 ms for all of this.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import ua_parser
import user_agents.parsers
from crawlerdetect import CrawlerDetect
from crawlerdetect.providers import crawlers, exclusions

MAX_USER_AGENT = 512
REMEMBERED_USER_AGENTS = 2_000  # distinct strings; the fast lane has a larger memory of its own
PATTERNS_AT_ONCE = 20  # joined into one for the engine: more are slower, fewer take more memory

# All patterns below are for text in lower case, which is several times as fast as ignoring the case.
# Every browser writes one of these: the common ones, an in-app browser's own, then feature phones of before 2012.
_BROWSER_MARK = re.compile(
    r"mozilla/\d|opera[/ ]\d|applewebkit|fban/"
    r"|\b(?:midp|cldc|ucweb|ucbrowser|obigo|netfront|teleca|openwave|up\.browser|wap)\b"
)
# `Mozilla/5.0` and no more, or with a comment that names no system.
_BARE_MARK = re.compile(r"\s*mozilla/\d(?:\.\d+)?\s*(?:\((?:compatible;?)?\s*\))?\s*")
# Browsers call themselves `compatible` only as Internet Explorer, Konqueror and their kind did.
_COMPATIBLE = re.compile(
    r"\bcompatible\b[;,]?(?!\s*+[;,]?\s*+(?:msie|mspie|konqueror|iemobile|omniweb|icab|ibrowse|aol)\b)"
)
# Whom to complain to: a URL, an e-mail address (`ios@11.0` is a version), a domain.
_ADDRESS = re.compile(r"https?:|\bwww\.|\S@(?!\d)[^\s@]+\.\w|\[at\]|\w-*\.(?:com|org|net|io|ai|dev|app|html)\b")
# Words of the trade.
_TRADE = re.compile(
    r"bot\b|bot[/_-]|crawl|spider|scrap(?:e|ing|y)|slurp|fetch(?!_)|headless|phantomjs|slimerjs|puppeteer|playwright"
    r"|selenium|webdriver|cypress|lighthouse|prerender|synthetic|uptime|monitor|preview|unfurl|archiv|validator|scanner"
    r"|scanning|scan/|\bscan\b|agent\b|watcher|watchtowr|audit|inspect|verif(?:y|ier|ication)|check(?:er|ly)|screenshot"
    r"|snapshot(?!/)|research\b|\bsecurity(?!pay|installed)|pingdom|ptst/|gtmetrix|site24x7|newrelic|datadog|catchpoint|silktide|hotjar"
    r"|appinsights|http-?client|httpunit|facebookexternal|meta-external|-user/\d|google-(?!tr)|extractor|harvest"
    r"|downloader|probe|analyz|analys"
)
# What looks like one of the above and is a person's: names of apps (`com.google.GoogleMobile`), phones whose makers
# chose an unlucky name, and the brands that internet providers once wrote into Internet Explorer.
_HUMAN_WORDS = re.compile(r"\b(?:com|net|org)(?:\.\w+){2,}|cubot\w*|idbot|power bot|\b[mb] bot\b|(?<=msie )[^()]*[^()]")

_FAMILIAR = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0",
)

log = logging.getLogger(__name__)


class UserAgent(NamedTuple):
    """What a user agent string says. `device` is desktop, mobile, tablet or other; families as ua-parser names them."""

    is_bot: bool
    device: str
    browser: str
    os: str


def warm_up() -> None:
    """Compile what reading needs: some thousand patterns, for which no visitor shall wait."""
    for text in _FAMILIAR:
        read_user_agent(text)


@lru_cache(maxsize=REMEMBERED_USER_AGENTS)
def read_user_agent(text: str) -> UserAgent:
    """What a user agent string (cut to MAX_USER_AGENT by the caller) says. An empty one is a bot's."""
    if not text.strip():
        return UserAgent(True, "other", "", "")
    found = _Families(text, _parser()(text, ua_parser.Domain.ALL))
    is_bot = bool(found.is_bot) or looks_automated(text) or _crawler_search()(text)
    return UserAgent(is_bot, _device(found), _shown(found.browser.family), _shown(found.os.family))


def looks_automated(text: str) -> bool:
    """Whether a user agent does what no browser does, whoever's it is."""
    text = text.lower()
    if _BROWSER_MARK.search(text) is None or _BARE_MARK.fullmatch(text):
        return True
    rest = _HUMAN_WORDS.sub(" ", text)
    return any(pattern.search(rest) for pattern in (_COMPATIBLE, _ADDRESS, _TRADE))


class _Families(user_agents.parsers.UserAgent):  # type: ignore[misc]
    """The rules of `user-agents` about devices, on what ua-parser's fast engine has found: its own constructor searches
    with ua-parser's older and slower code."""

    def __init__(self, text: str, found: ua_parser.PartialResult) -> None:
        self.ua_string = text
        browser, system, device = found.user_agent, found.os, found.device
        self.browser = user_agents.parsers.parse_browser(browser.family if browser else "Other")
        self.os = user_agents.parsers.parse_operating_system(
            *((system.family, system.major, system.minor, system.patch, system.patch_minor) if system else ("Other",))
        )
        self.device = user_agents.parsers.parse_device(
            *((device.family, device.brand, device.model) if device else ("Other", None, None))
        )


def _device(found: _Families) -> str:
    # user-agents takes these phones for tablets, and the BSDs' desktops for nothing.
    if "Mobile;" in found.ua_string or found.browser.family == "Opera Mini":
        return "mobile"
    if found.is_tablet:
        return "tablet"
    if found.is_mobile:
        return "mobile"
    return "desktop" if found.is_pc or "X11;" in found.ua_string else "other"


def _shown(family: str) -> str:
    return "" if family == "Other" else family[:64]


@cache
def _parser() -> ua_parser.Parser:
    """ua-parser on its best engine, without a memory of its own."""
    return ua_parser.Parser(ua_parser.BestAvailableResolver(ua_parser.load_lazy_builtins()))


@cache
def _crawler_search() -> Callable[[str], bool]:
    """Whether crawlerdetect's list has a user agent: its patterns on the faster engine, or itself where that cannot be.

    Like crawlerdetect, it takes away first what browsers write. The engine knows no look-around (`(?!…)`); the few
    patterns that have one are searched by Python.
    """
    try:
        import ua_parser_rs

        plain = [pattern for pattern in crawlers.data if "(?" not in pattern]
        engine = ua_parser_rs.DeviceExtractor(
            ("|".join(plain[start : start + PATTERNS_AT_ONCE]), "i", "crawler", None, None)
            for start in range(0, len(plain), PATTERNS_AT_ONCE)
        )
    except (ImportError, ValueError) as error:
        log.warning("crawlers are searched for the slow way, a millisecond or two each: %s", error)
        search: Callable[[str], bool] = CrawlerDetect().is_crawler
        return search
    others = [pattern for pattern in crawlers.data if "(?" in pattern]
    other = re.compile("|".join(others) or "(?!)", re.IGNORECASE)
    browsers = re.compile("|".join(exclusions.data), re.IGNORECASE)

    def is_crawler(text: str) -> bool:
        rest = browsers.sub("", text.strip())
        return engine.extract(rest) is not None or other.search(rest) is not None

    return is_crawler
