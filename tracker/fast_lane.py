"""The redirect's usual case, decided from prepared parts; fast_protocol.py answers with it, without ASGI.

A GET of a link that memory knows, with headers that need no second look, is decided from prepared parts, journaled, and
answered when its batch is durable. Whatever is unusual (another method, a body, an upgrade, HTTP/1.0, a signal of
prefetching or opting out, an id that memory does not know) goes the ordinary way, through redirect.py. Both give the
same bytes for the same request; a differential test holds them to it. A request whose head was seen before is not even
parsed (heads.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from tracker.click_intake import ClickIntake
from tracker.click_line import ClickLine
from tracker.client_address import Client
from tracker.directory_lines import Link
from tracker.events import Verdict, tsv_fields, tsv_text
from tracker.heads import Heads, is_plain_value
from tracker.ids import IdMaker
from tracker.landing import (
    REMEMBERED_LANDINGS,
    Landing,
    Opening,
    campaign_pair,
    is_clean_query,
    is_passed_query,
    located,
    opening,
    read_query,
    split_query,
)
from tracker.program import Product, Program
from tracker.redirect import (
    MAX_KEPT_QUERY,
    MAX_KEPT_REFERRER,
    Target,
    landing_of,
    read_headers,
    read_path,
    result_of,
)
from tracker.redis_keys import shard_of
from tracker.remembered import Remembered
from tracker.user_agent import MAX_USER_AGENT, read_user_agent
from tracker.visitors import COOKIE, OPT_OUT_COOKIE, StampMaker, cookie_visitor, lone_cookie_visitor, visitor_cookie

REMEMBERED_PATHS = 10_000  # prepared ones a generation, of two; about 1 KB each
REMEMBERED_BROWSERS = 10_000  # likewise
REMEMBERED_REFERRERS = 2_000  # likewise
REMEMBERED_BYTES = 512  # longer ones are not remembered: whoever sends them could fill the memory

# A request with one of these needs a second look.
_UNUSUAL = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"sec-gpc", b"dnt", b"sec-purpose", b"purpose",
     b"x-purpose", b"x-moz", b"user-agent", b"cookie", b"referer"}
)  # fmt: skip
_SHORT_LINK = re.compile(rb"/[A-Za-z0-9_.-]{1,64}")
_DEEP_QUERY = re.compile(rb"to=[!$%'-~]+")
_OPT_OUT = OPT_OUT_COOKIE.encode()


class Place(NamedTuple):
    """Where links of one product and landing page lead, the same for all of them."""

    product: Product
    column: str
    """The product's, of the row."""
    landing: Landing
    opening: Opening


class Prepared(NamedTuple):
    """Where a path leads (a direct link is a link without a campaign), and what does not change from click to click:
    the location up to where a visitor's own query belongs, from there to the stamp, and after it; the columns of the
    row that name the link; and the end of its touch line."""

    link: Link
    place: Place
    is_active: bool
    """Whether the partner has joined and was never suspended: then nothing of the moment matters."""
    before_query: str
    before_stamp: str
    after_stamp: str
    columns: str
    touched: str


class Browser(NamedTuple):
    """What a user agent string says: its verdict, and its columns of the row."""

    verdict: Verdict
    verdict_text: str
    result: str
    """What X-Lasttouch says where the partner is active."""
    columns: str
    is_human: bool


Answer = tuple[bytes, ClickLine, str]
"""The headers of a 302, what must be durable before it goes out, and what X-Lasttouch says."""

# Named tuples made the short way, for every click makes them.
_click_line: Callable[[tuple[int, str, str, str, bool]], ClickLine] = partial(tuple.__new__, ClickLine)
_prepared: Callable[[tuple[Link, Place, bool, str, str, str, str, str]], Prepared] = partial(tuple.__new__, Prepared)


class FastLane:
    """Decides usual requests as `redirect.decide` does, from parts that were prepared before."""

    def __init__(self, intake: ClickIntake) -> None:
        self._in = intake
        self.journal = intake.journal
        self.metrics = intake.metrics
        self._make_ids = IdMaker(intake.random_bytes)
        self._place = lru_cache(REMEMBERED_LANDINGS)(partial(place_of, intake.program))
        self._paths: Remembered[Prepared] = Remembered(REMEMBERED_PATHS)
        intake.links.watch(self._paths.forget)
        self._browsers: Remembered[Browser] = Remembered(REMEMBERED_BROWSERS)
        self._referrers: Remembered[str] = Remembered(REMEMBERED_REFERRERS)
        self._heads: Heads[Browser] = Heads()
        # Looked up once, for every click asks for them.
        self._now_ms = intake.now_ms
        self._make_stamp = StampMaker(intake.secret)
        self._cookie_end = {
            is_https: visitor_cookie("", intake.program, is_https).partition("=")[2] for is_https in (False, True)
        }

    def client(self, peer: str, scheme: str) -> Client | None:
        """Who is at the other end of a connection; None where that is for each request to say, behind a proxy."""
        return None if self._in.clients.trusted else self._in.clients.read(peer, scheme, {})

    def answer_again(self, data: bytes, client: Client) -> Answer | None:
        """The answer to what a connection received, where it is one whole GET with a head that was seen before; None
        when it must be parsed."""
        request = self._heads.read(data)
        if request is None:
            return None
        url, cookie, referrer, browser = request
        path, _, query = url.partition(b"?")
        # A path that was parsed before, or is a short code, which needs no parsing.
        prepared = self._paths.get(path) or self._prepared_short_link(path)
        if prepared is None:
            return None
        passed = ""
        if query:
            prepared, passed, query = self._asked(prepared, url, path, query)
            if not is_clean_query(query):
                return None
        known = None
        if cookie is not None:
            known = lone_cookie_visitor(cookie)
            if known is None:
                if _OPT_OUT in cookie or not is_plain_value(cookie):
                    return None
                known = cookie_visitor(cookie.decode())
        return self._answer(prepared, browser, passed, query, known, referrer, client)

    def answer(
        self, url: bytes, headers: list[tuple[bytes, bytes]], client: Client | None, peer: str, scheme: str, data: bytes
    ) -> Answer | None:
        """The answer to a GET, or None when it must go the ordinary way. `headers` have lower-case names; `data` is
        what the request was parsed from, empty where it was more or less than one request."""
        agent = cookie = referrer = None
        for name, value in headers:
            if name == b"user-agent" and agent is None:
                agent = value
            elif name == b"cookie" and cookie is None:
                cookie = value
            elif name == b"referer" and referrer is None:
                referrer = value
            elif name in _UNUSUAL:  # among them the three above, when they come again
                return None
        path, _, query = url.partition(b"?")
        prepared = self._prepared(path) if b"#" not in query else None
        if prepared is None:
            return None
        browser = self._browser(agent or b"")
        if client is None:
            client = self._in.clients.read(peer, scheme, read_headers(headers))
        elif data:
            self._heads.learn(data, cookie, referrer, browser)
        prepared, passed, query = self._asked(prepared, url, path, query)
        known = None
        if cookie is not None:
            if _OPT_OUT in cookie:
                return None
            known = cookie_visitor(cookie.decode("utf-8", "replace"))
        return self._answer(prepared, browser, passed, query, known, referrer, client)

    def _answer(
        self,
        prepared: Prepared,
        browser: Browser,
        passed: str,
        query: bytes,
        known: str | None,
        referrer: bytes | None,
        client: Client,
    ) -> Answer | None:
        now_ms = self._now_ms()
        result = browser.result
        if not prepared.is_active:
            standing = self._in.links.standing(prepared.link.partner_id)
            target = Target(prepared.link.partner_id, standing, prepared.place.product)
            result = result_of(target, browser.verdict, now_ms)
            if result == "unknown-partner":
                return None
        visitor_id = known or self._make_ids.visitor()
        click_id = self._make_ids.click(now_ms)
        stamp = self._make_stamp(visitor_id, now_ms)
        landed = ""
        if passed:
            location = f"{prepared.before_query}{passed}&{prepared.before_stamp}{stamp}{prepared.after_stamp}"
            landed = tsv_text(passed[:MAX_KEPT_QUERY])
        elif query:
            location, landed = self._passed_on(prepared, query, stamp)
        else:
            location = f"{prepared.before_query}{prepared.before_stamp}{stamp}{prepared.after_stamp}"
        row = (
            f"{click_id}\t{now_ms}\t{visitor_id}\t{prepared.columns}\t{browser.verdict_text}\tredirect\t{client.country}"
            f"\t{browser.columns}\t{self._kept(referrer) if referrer else ''}\t{landed}\t{client.ip_prefix}\n"
        )
        touch = f"{now_ms:013d} {click_id} {prepared.touched}" if browser.is_human else ""
        line = _click_line((shard_of(visitor_id), row, visitor_id, touch, known is None))
        head = (
            f"location: {location}\r\nx-lasttouch: {result}\r\n"
            f"set-cookie: {COOKIE}={visitor_id}{self._cookie_end[client.is_https]}\r\n"
            "cache-control: no-store\r\ncontent-length: 0\r\n"
        )
        return head.encode("ascii", "ignore"), line, result

    def _asked(self, prepared: Prepared, url: bytes, path: bytes, query: bytes) -> tuple[Prepared, str, bytes]:
        """What a query asks for: the prepared parts, what is passed on as it stands, and what is left to read. A deep
        link (`to=` alone) is prepared as a path of its own, for many visitors follow the same ones."""
        if not query:
            return prepared, "", b""
        if is_passed_query(query):
            return prepared, query.decode(), b""
        if _DEEP_QUERY.fullmatch(query) is None or len(url) > REMEMBERED_BYTES:
            return prepared, "", query
        deep = self._paths.get(url)
        if deep is None:
            link = prepared.link
            place = place_of(self._in.program, link.product, link.landing_url, split_query(query.decode())[1])
            deep = prepare(link, prepared.is_active, place)
            self._paths.offer(url, deep, (link.partner_id, path.strip(b"/").decode()))
        return deep, "", b""

    def _passed_on(self, prepared: Prepared, query: bytes, stamp: str) -> tuple[str, str]:
        """The location with a request's own query, and the landing query as the row keeps it."""
        link, landing = prepared.link, prepared.place.landing
        passed, to = split_query(read_query(query))
        if to is not None:
            landing = landing_of(prepared.place.product, link.landing_url, to, self._in.program)
        location = located(landing, passed, link.campaign, [f"a={link.partner_id}", f"lt={stamp}"])
        return location, tsv_text("&".join(passed)[:MAX_KEPT_QUERY])

    def _prepared(self, path: bytes) -> Prepared | None:
        """A path's target and prepared parts; None when memory does not know its link or its partner."""
        prepared = self._paths.get(path) or self._prepared_short_link(path)
        if prepared is not None or len(path) > REMEMBERED_BYTES or not path.isascii() or b"%" in path or b"#" in path:
            return prepared
        asked = read_path(path.decode(), self._in.program)
        if asked.code is not None:
            return self._prepare(path, asked.code, self._in.links.find_link(asked.code))
        if asked.partner_id is None:
            return None
        # A direct link, as if it were a short one.
        return self._prepare(path, asked.partner_id, Link(asked.partner_id, asked.product.key, "", ""))

    def _prepared_short_link(self, path: bytes) -> Prepared | None:
        if _SHORT_LINK.fullmatch(path) is None:
            return None
        code = path[1:].decode()
        return self._prepare(path, code, self._in.links.find_link(code))

    def _prepare(self, path: bytes, name: str, link: Link | None) -> Prepared | None:
        """What is prepared of the link that a path leads to, kept until the directory's entry with the name changes."""
        if link is None:
            return None
        is_active = self._in.links.is_active(link.partner_id, self._now_ms())
        if not is_active and self._in.links.standing(link.partner_id) is None:
            return None
        prepared = prepare(link, is_active, self._place(link.product, link.landing_url))
        self._paths.offer(path, prepared, (link.partner_id, name))
        return prepared

    def _browser(self, raw: bytes) -> Browser:
        """A user agent's verdict and columns. A new string is read at once: one reading serves both ways."""
        browser = self._browsers.get(raw)
        if browser is None:
            browser = read_browser(raw.decode("utf-8", "replace")[:MAX_USER_AGENT])
            if len(raw) <= REMEMBERED_BYTES:
                self._browsers.keep(raw, browser, ())
        return browser

    def _kept(self, referrer: bytes) -> str:
        """A referrer as the row keeps it. Mostly it is another site's origin, the same for many visitors."""
        kept = self._referrers.get(referrer)
        if kept is None:
            kept = tsv_text(referrer.decode("utf-8", "replace")[:MAX_KEPT_REFERRER])
            if len(referrer) <= REMEMBERED_BYTES:
                self._referrers.offer(referrer, kept, ())
        return kept


def place_of(program: Program, product_key: str, landing_url: str, to: str | None = None) -> Place:
    """Where a link leads. `to` is where the visitor's own query leads, decoded."""
    product = program.products.get(product_key) or program.products[program.default_product]
    landing = landing_of(product, landing_url, to, program)
    return Place(product, tsv_text(product.key), landing, opening(landing))


def prepare(link: Link, is_active: bool, place: Place) -> Prepared:
    """The parts of a link's answers that stay the same."""
    before, added, after, takes_campaign = place.opening
    partner_id, _, campaign, _ = link
    pair = f"{campaign_pair(campaign)}&" if campaign and takes_campaign else ""
    stamped = f"{added}{pair}a={partner_id}&lt="
    columns = f"{partner_id}\t{place.column}\t{tsv_text(campaign)}"
    touched = f"{partner_id} {place.product.key} {campaign}".replace("\n", " ")
    return _prepared((link, place, is_active, before, stamped, after, columns, touched))


def read_browser(text: str) -> Browser:
    """A user agent's verdict, and its columns."""
    read = read_user_agent(text)
    verdict = Verdict.BOT if read.is_bot else Verdict.HUMAN
    columns = tsv_fields((read.device, read.browser, read.os, text))
    return Browser(verdict, verdict.value, "bot" if read.is_bot else "counted", columns, not read.is_bot)
