"""The redirect's usual case, decided from prepared parts; fast_protocol.py answers with it, without ASGI.

A GET of a link that memory knows, with headers that need no second look, is decided from prepared parts, journaled, and
answered when its batch is durable. Whatever is unusual (another method, a body, an upgrade, HTTP/1.0, a signal of
prefetching or opting out, an id or a browser not met before) goes the ordinary way, through redirect.py. Both give the
same bytes for the same request; a differential test holds them to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tracker.click_line import ClickLine
from tracker.client_address import Client, Network, read_client
from tracker.events import Verdict, tsv_text
from tracker.ids import RandomBytes, new_time_ordered_id, new_visitor_id
from tracker.journal import Journal
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.program import Program
from tracker.redirect import (
    MAX_KEPT_QUERY,
    MAX_KEPT_REFERRER,
    Target,
    landing_of,
    located,
    read_headers,
    read_query,
    remembered_target,
    result_of,
    split_query,
)
from tracker.redis_keys import shard_of
from tracker.screening import MAX_USER_AGENT, UserAgent, read_user_agent
from tracker.visitors import OPT_OUT_COOKIE, cookie_visitor, make_stamp, visitor_cookie

REMEMBERED = 50_000  # prepared paths, and browsers; when there are more, remembering begins anew
POOLED_BYTES = 8192  # random bytes are asked of the system in blocks

# A request with one of these needs a second look.
_UNUSUAL = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"sec-gpc", b"dnt", b"sec-purpose", b"purpose",
     b"x-purpose", b"x-moz"}
)  # fmt: skip
_READ_ONCE = frozenset({b"user-agent", b"cookie", b"referer"})
_OPT_OUT = OPT_OUT_COOKIE.encode()


class Prepared(NamedTuple):
    """A path's target, and what does not change from click to click: the location up to the stamp and after it, the
    columns of the row that name the link, and the end of its touch line."""

    target: Target
    before_stamp: str
    after_stamp: str
    columns: str
    touched: str


class Browser(NamedTuple):
    """What a user agent string says: its verdict, and its columns of the row."""

    verdict: Verdict
    columns: str


class Answer(NamedTuple):
    """The headers of a 302, what must be durable before it goes out, and what X-Lasttouch says."""

    headers: bytes
    line: ClickLine
    result: str


class RandomPool:
    """Random bytes of the system, asked for in blocks: a call costs more than the bytes."""

    def __init__(self, source: RandomBytes = os.urandom) -> None:
        self._source = source
        self._block = b""
        self._at = 0

    def __call__(self, size: int) -> bytes:
        at = self._at
        if at + size > len(self._block):
            self._block, at = self._source(POOLED_BYTES), 0
        self._at = at + size
        return self._block[at : at + size]


class FastLane:
    """Decides usual requests as `redirect.decide` does, from parts that were prepared before."""

    def __init__(
        self,
        program: Program,
        secret: bytes,
        links: Links,
        journal: Journal,
        metrics: Metrics,
        now_ms: Callable[[], int],
        trusted_proxies: Sequence[Network] = (),
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self.journal = journal
        self.metrics = metrics
        self._program = program
        self._secret = secret
        self._links = links
        self._now_ms = now_ms
        self._trusted_proxies = tuple(trusted_proxies)
        self._random = RandomPool(random_bytes)
        self._paths: dict[bytes, Prepared] = {}
        self._paths_version = -1
        self._browsers: dict[bytes, Browser] = {}

    def client(self, peer: str, scheme: str) -> Client | None:
        """Who is at the other end of a connection; None where that is for each request to say, behind a proxy."""
        return None if self._trusted_proxies else read_client(peer, scheme, {}, ())

    def answer(
        self, url: bytes, headers: list[tuple[bytes, bytes]], client: Client | None, peer: str, scheme: str
    ) -> Answer | None:
        """The answer to a GET, or None when it must go the ordinary way. `headers` have lower-case names."""
        read: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _READ_ONCE:
                if name in read:
                    return None
                read[name] = value
            elif name in _UNUSUAL:
                return None
        path, _, query = url.partition(b"?")
        prepared = self._prepared(path) if b"#" not in query else None
        browser = self._browser(read.get(b"user-agent", b""))
        cookie = read.get(b"cookie", b"")
        if prepared is None or browser is None or _OPT_OUT in cookie:
            return None
        now_ms = self._now_ms()
        result = result_of(prepared.target, browser.verdict, now_ms)
        if result == "unknown-partner":
            return None
        if client is None:
            client = read_client(peer, scheme, read_headers(headers), self._trusted_proxies)
        visitor_id = (cookie and cookie_visitor(cookie.decode("utf-8", "replace"))) or new_visitor_id(self._random)
        location, landed = self._location(prepared, query, make_stamp(self._secret, visitor_id, now_ms))
        click_id = new_time_ordered_id(now_ms, self._random)
        referrer = read.get(b"referer")
        row = (
            f"{click_id}\t{now_ms}\t{visitor_id}\t{prepared.columns}\t{browser.verdict.value}\tredirect\t{client.country}"
            f"\t{browser.columns}\t{_kept(referrer) if referrer else ''}\t{landed}\t{client.ip_prefix}\n"
        )
        touch = f"{now_ms:013d} {click_id} {prepared.touched}" if browser.verdict is Verdict.HUMAN else ""
        line = ClickLine(shard_of(visitor_id), row, visitor_id, touch)
        return Answer(response_headers(location, result, visitor_id, self._program, client.is_https), line, result)

    def _location(self, prepared: Prepared, query: bytes, stamp: str) -> tuple[str, str]:
        """The location, and the landing query as the row keeps it."""
        if not query:
            return f"{prepared.before_stamp}{stamp}{prepared.after_stamp}", ""
        target = prepared.target
        passed, to = split_query(read_query(query))
        stamps = [f"a={target.partner_id}", f"lt={stamp}"]
        location = located(landing_of(target, to, self._program), passed, target.campaign, stamps)
        return location, tsv_text("&".join(passed)[:MAX_KEPT_QUERY])

    def _prepared(self, path: bytes) -> Prepared | None:
        """A path's target and prepared parts; None when memory does not know its link or its partner."""
        if self._paths_version != self._links.version or len(self._paths) > REMEMBERED:
            self._paths, self._paths_version = {}, self._links.version
        prepared = self._paths.get(path)
        if prepared is None and path.isascii() and b"%" not in path and b"#" not in path:
            target = remembered_target(path.decode(), self._program, self._links)
            if target.partner_id is not None and target.standing is not None:
                prepared = self._paths[path] = prepare(target, self._program)
        return prepared

    def _browser(self, raw: bytes) -> Browser | None:
        """A user agent's verdict and columns. A new string is read at once: one reading serves both ways."""
        browser = self._browsers.get(raw)
        if browser is None:
            if len(self._browsers) > REMEMBERED:
                self._browsers = {}
            text = raw.decode("utf-8", "replace")[:MAX_USER_AGENT]
            browser = self._browsers[raw] = Browser(*_columns(read_user_agent(text), text))
        return browser


def prepare(target: Target, program: Program) -> Prepared:
    """The parts of a target's answers that stay the same."""
    mark = "\0"
    stamps = [f"a={target.partner_id}", f"lt={mark}"]
    before, after = located(landing_of(target, None, program), [], target.campaign, stamps).split(mark)
    names = (target.partner_id or "", target.product.key, target.campaign)
    touched = f"{names[0]} {names[1]} " + names[2].replace("\n", " ")
    return Prepared(target, before, after, "\t".join(tsv_text(name) for name in names), touched)


def response_headers(location: str, result: str, visitor_id: str, program: Program, is_https: bool) -> bytes:
    """The headers that the ordinary way sends, in its order, without the server's own."""
    return (
        f"location: {location}\r\nx-lasttouch: {result}\r\n"
        f"set-cookie: {visitor_cookie(visitor_id, program, is_https)}\r\n"
        "cache-control: no-store\r\ncontent-length: 0\r\n"
    ).encode("ascii", "ignore")


def _columns(browser: UserAgent, text: str) -> tuple[Verdict, str]:
    verdict = Verdict.BOT if browser.is_bot else Verdict.HUMAN
    return verdict, "\t".join(tsv_text(cell) for cell in (browser.device, browser.browser, browser.os, text))


def _kept(referrer: bytes) -> str:
    return tsv_text(referrer.decode("utf-8", "replace")[:MAX_KEPT_REFERRER])
