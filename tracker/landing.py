"""Where a redirect may lead, and with which query: URLs of the program's sites, and never an open redirect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from tracker.program import Product, Program

# A longer query is not passed on, for browsers and sites refuse URLs that are much longer; the visitor still arrives.
MAX_QUERY = 8192
REMEMBERED_LANDINGS = 4096

_URL_CHARACTERS = "%/:?[]@!$&'()*+,;=~"
_CLEAN_QUERY = re.compile(rb'[!"$-~]*')
# Pairs with names that any reader reads alike, and none of them a name that means something here.
_PASSED_PAIR = rb"""(?!(?:a|lt|to|utm_source|utm_campaign)(?:[=&]|\Z))[A-Za-z0-9_.~:-]+(?:=[!"$%'-~]*)?"""
_PASSED_QUERY = re.compile(rb"%b(?:&%b)*" % (_PASSED_PAIR, _PASSED_PAIR))
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.~-]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


class Landing(NamedTuple):
    """A URL in parts: up to and with the path, then without their `?` and `#`."""

    base: str
    query: str
    fragment: str


@lru_cache(maxsize=REMEMBERED_LANDINGS)
def read_landing(url: str, hosts: frozenset[str]) -> Landing | None:
    """An absolute http(s) URL on one of `hosts`, without its own `a` and `lt`. None for anything else.

    Never an open redirect: the whole authority must be one of ours, and what browsers read differently from Python
    (backslashes, control characters) is refused.
    """
    if _FORBIDDEN.search(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = parts.netloc.lower()
    own_port = {"http": ":80", "https": ":443"}.get(parts.scheme)
    if own_port is None or not {host, host.removesuffix(own_port)} & hosts:
        return None
    query = "&".join(pair for pair in parts.query.split("&") if _name(pair) not in ("a", "lt"))
    return Landing(f"{parts.scheme}://{host}{_quoted(parts.path) or '/'}", _quoted(query), _quoted(parts.fragment))


def home_of(product: Product, program: Program) -> Landing:
    """A product's home page."""
    return read_landing(product.url, program.hosts) or Landing(product.url, "", "")


def split_query(query: str) -> tuple[list[str], str | None]:
    """The parameters that are passed on, as sent and in their order, and the first `to`, decoded.

    `a` and `lt` are ours and never passed on. A query above MAX_QUERY counts as none.
    """
    if not query or len(query) > MAX_QUERY:
        return [], None
    passed, to = [], None
    for pair in query.split("&"):
        name = _name(pair)
        if name == "to":
            to = unquote(pair.partition("=")[2]) if to is None else to
        elif pair and name not in ("a", "lt"):
            passed.append(pair)
    return passed, to


def located(landing: Landing, passed: Sequence[str], campaign: str = "", stamps: Sequence[str] = ()) -> str:
    """The URL of a redirect: the landing's own query, what is passed on, what we add, and the fragment last.

    With `stamps`, `utm_source` and `utm_campaign` are added where the visitor's link did not say them.
    """
    pairs = [landing.query] if landing.query else []
    pairs += passed
    if stamps:
        given = {_name(pair) for pair in "&".join(pairs).split("&")} if pairs else ()
        if "utm_source" not in given:
            pairs.append("utm_source=PP")
        if campaign and "utm_campaign" not in given:
            pairs.append(campaign_pair(campaign))
        pairs += stamps
    query = f"?{'&'.join(pairs)}" if pairs else ""
    return f"{landing.base}{query}{'#' if landing.fragment else ''}{landing.fragment}"


class Opening(NamedTuple):
    """What is the same in the URLs of all links to a landing where visitors add nothing that we say ourselves: up to
    where their own query belongs; from there to where `utm_campaign` and our stamps belong; and after them.
    `takes_campaign`: the landing does not say `utm_campaign` itself."""

    before: str
    added: str
    after: str
    takes_campaign: bool


@lru_cache(maxsize=REMEMBERED_LANDINGS)
def opening(landing: Landing) -> Opening:
    """`located` without a campaign, cut where the visitor's query and the stamps stand."""
    before, added, after = located(landing, ["\0"], stamps=["\0"]).split("\0")
    takes_campaign = "utm_campaign" not in {_name(pair) for pair in landing.query.split("&")}
    return Opening(before, added.removeprefix("&"), after, takes_campaign)


def campaign_pair(campaign: str) -> str:
    """`utm_campaign` as it is added to a URL."""
    plain = campaign if _PLAIN_NAME.fullmatch(campaign) else quote(campaign, safe="", errors="replace")
    return f"utm_campaign={plain}"


def is_clean_query(raw: bytes) -> bool:
    """Whether a query string may stand in a header as it is."""
    return _CLEAN_QUERY.fullmatch(raw) is not None


def is_passed_query(raw: bytes) -> bool:
    """Whether a query string is passed on as it stands, and changes nothing of what we add: clean, and without a pair
    that is ours, leads elsewhere, or says what we would say."""
    return len(raw) <= MAX_QUERY and _PASSED_QUERY.fullmatch(raw) is not None


def read_query(raw: bytes) -> str:
    """A query string as ASCII that may stand in a header; other bytes are percent-encoded."""
    if is_clean_query(raw):
        return raw.decode("ascii")
    return quote(raw, safe=_URL_CHARACTERS)


def _quoted(text: str) -> str:
    """`text` as it may stand in a URL; escapes that are there already stay."""
    return quote(_STRAY_PERCENT.sub("%25", text), safe=_URL_CHARACTERS, errors="replace")


def _name(pair: str) -> str:
    name = pair.partition("=")[0]
    return unquote_plus(name) if "%" in name or "+" in name else name
