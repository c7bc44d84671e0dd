"""The redirect: a visitor follows an affiliate link and is sent on to the site, with the Partner ID stamped.

Every request goes parse → find → decide → record → respond. Deciding is pure: `decide` takes a request and what its
path leads to, and says where to send the visitor, what the answer's X-Lasttouch says, and which click happened, if
any. The answer goes out after the click is durable. A visitor never sees an error: whatever goes wrong, there is the
home page.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tracker.click_intake import ClickIntake
from tracker.client_address import COUNTRY_HEADERS, Client
from tracker.directory_lines import Link
from tracker.events import Clicked, Verdict
from tracker.ids import is_caller_id, new_time_ordered_id, new_visitor_id
from tracker.landing import Landing, home_of, located, read_landing, read_query, split_query
from tracker.program import Product, Program
from tracker.screening import Screened, screen
from tracker.standing import Standing
from tracker.user_agent import MAX_USER_AGENT
from tracker.visitors import cookie_visitor, make_stamp, visitor_cookie

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_KEPT_QUERY = 1024
MAX_KEPT_REFERRER = 512

# The only headers that are read; repeated ones are joined as RFC 9110 and RFC 6265 have it.
HEADERS = {
    name.encode(): name
    for name in (
        "user-agent", "cookie", "referer", "sec-gpc", "dnt", "sec-purpose", "purpose", "x-purpose", "x-moz",
        "forwarded", "x-forwarded-for", "x-forwarded-proto", *COUNTRY_HEADERS, "origin", "content-type",
    )
}  # fmt: skip
log = logging.getLogger(__name__)


class View(NamedTuple):
    """What of a request matters here. `query` is as sent, ASCII; `headers` has lower-case names."""

    method: str
    query: str
    headers: dict[str, str]
    client: Client


class Target(NamedTuple):
    """What a path leads to. `partner_id` is None for an unknown link; `standing` is None for an unknown partner."""

    partner_id: str | None
    standing: Standing | None
    product: Product
    campaign: str = ""
    landing_url: str = ""
    is_link: bool = False


class Asked(NamedTuple):
    """What a path asks for: a short code, or a partner's direct link to a product. None for what can be no id."""

    code: str | None
    partner_id: str | None
    product: Product
    is_link: bool


class Fresh(NamedTuple):
    """What a decision needs from the clock and from chance."""

    now_ms: int
    click_id: str
    visitor_id: str


class Decision(NamedTuple):
    """`result` is what X-Lasttouch says when `click`, if there is one, was recorded."""

    location: str
    result: str
    cookie: str | None
    click: Clicked | None


def read_path(path: str, program: Program) -> Asked:
    """What a path asks for, as far as it can be an id at all."""
    home = program.products[program.default_product]
    first, *rest = path.strip("/").split("/")
    if first == "a" and 1 <= len(rest) <= 2:
        product = program.products.get(rest[1], home) if len(rest) == 2 else home
        return Asked(None, rest[0] if is_caller_id(rest[0]) else None, product, is_link=False)
    return Asked(first if not rest and is_caller_id(first) else None, None, home, is_link=True)


def target_of(asked: Asked, link: Link | None, standing: Standing | None, program: Program) -> Target:
    """What was asked for, with what is known of it."""
    if link is None:
        return Target(asked.partner_id, standing, asked.product, is_link=asked.is_link)
    product = program.products.get(link.product, asked.product)
    return Target(link.partner_id, standing, product, link.campaign, link.landing_url, is_link=True)


def decide(view: View, target: Target, program: Program, secret: bytes, fresh: Fresh) -> Decision:
    """Where a request is sent and what is kept of it (R1)."""
    screened = screen(view.method, view.headers, program)
    result = result_of(target, screened.verdict, fresh.now_ms)
    visitor_id = None
    if not screened.is_opted_out:
        visitor_id = cookie_visitor(view.headers.get("cookie", "")) or fresh.visitor_id
    passed, to = split_query(view.query)
    cookie = None
    if result in ("unknown-link", "unknown-partner"):
        location = located(home_of(target.product, program), passed)
    else:
        landing = landing_of(target.product, target.landing_url, to, program)
        stamps = [f"a={target.partner_id}"]
        if visitor_id is not None:
            stamps.append(f"lt={make_stamp(secret, visitor_id, fresh.now_ms)}")
            cookie = visitor_cookie(visitor_id, program, view.client.is_https)
        location = located(landing, passed, target.campaign, stamps)
    click = clicked(view, target, screened, visitor_id, fresh, passed) if target.partner_id is not None else None
    return Decision(location, result, cookie, click)


def result_of(target: Target, verdict: Verdict, now_ms: int) -> str:
    """What X-Lasttouch says. A partner who has not joined yet is not known yet."""
    if target.partner_id is None:
        return "unknown-link" if target.is_link else "unknown-partner"
    if target.standing is None or target.standing.joined_at > now_ms:
        return "unknown-partner"
    if verdict is not Verdict.HUMAN:
        return str(verdict)
    return "suspended-partner" if target.standing.suspended_at(now_ms) else "counted"


def clicked(
    view: View,
    target: Target,
    screened: Screened,
    visitor_id: str | None,
    fresh: Fresh,
    passed: Sequence[str],
    source: str = "redirect",
) -> Clicked:
    """The fact of a redirect or of a touch."""
    return Clicked(
        click_id=fresh.click_id,
        clicked_at=fresh.now_ms,
        visitor_id=visitor_id,
        partner_id=target.partner_id or "",
        product=target.product.key,
        campaign=target.campaign,
        verdict=screened.verdict,
        source=source,
        country=view.client.country,
        device=screened.user_agent.device,
        browser=screened.user_agent.browser,
        os=screened.user_agent.os,
        user_agent=view.headers.get("user-agent", "")[:MAX_USER_AGENT],
        referrer=view.headers.get("referer", "")[:MAX_KEPT_REFERRER],
        landing_query="&".join(passed)[:MAX_KEPT_QUERY],
        ip_prefix=view.client.ip_prefix,
    )


def landing_of(product: Product, landing_url: str, to: str | None, program: Program) -> Landing:
    """`to` where it leads to the program, else the campaign's page. The home page for anything that leads elsewhere."""
    if to and to.startswith("/") and not to.startswith("//"):
        site = urlsplit(product.url)
        to = f"{site.scheme}://{site.netloc}{to}"
    return read_landing(to or landing_url or product.url, program.hosts) or home_of(product, program)


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Those headers of an ASGI scope that anybody here reads, by lower-case name."""
    headers: dict[str, str] = {}
    for name, value in raw:
        known = HEADERS.get(name)
        if known is not None:
            text = value.decode("utf-8", "replace")
            separator = "; " if known == "cookie" else ", "
            headers[known] = f"{headers[known]}{separator}{text}" if known in headers else text
    return headers


class RedirectApp:
    """Short links `/{code}` and direct links `/a/{partner_id}[/{product}]`, as a bare ASGI app."""

    def __init__(self, intake: ClickIntake) -> None:
        self._in = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"redirects are HTTP, not {scope['type']}")
        if scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, [(b"allow", b"GET, HEAD")])
            return
        try:
            decision = await self._follow(scope)
        except Exception:
            log.exception("a redirect failed; its visitor goes to the home page")
            self._in.metrics.redirect_errors.add()
            decision = Decision(
                self._in.program.products[self._in.program.default_product].url, "not-recorded", None, None
            )
        headers = [
            (b"location", decision.location.encode("ascii", "ignore")),
            (b"x-lasttouch", decision.result.encode()),
        ]
        if decision.cookie is not None:
            headers.append((b"set-cookie", decision.cookie.encode()))
        await _respond(send, 302, headers)

    async def _follow(self, scope: Scope) -> Decision:
        """Parse, find, decide and record, all within the time that a visitor may wait (journal.py)."""
        came_s = time.monotonic()
        peer = scope.get("client")
        headers = read_headers(scope["headers"])
        client = self._in.clients.read(peer[0] if peer else "", scope["scheme"], headers)
        view = View(scope["method"], read_query(scope["query_string"]), headers, client)
        target = await self._find(scope["path"], came_s)
        now_ms = self._in.now_ms()
        click_id = new_time_ordered_id(now_ms, self._in.random_bytes)
        fresh = Fresh(now_ms, click_id, new_visitor_id(self._in.random_bytes))
        decision = decide(view, target, self._in.program, self._in.secret, fresh)
        if decision.click is not None:
            is_durable = await self._in.journal.append(decision.click, came_s)
            if not is_durable and decision.result == "counted":
                decision = decision._replace(result="not-recorded")
        self._in.metrics.clicks.add("redirect", decision.result)
        return decision

    async def _find(self, path: str, came_s: float) -> Target:
        """What a path leads to; ids that memory does not know are looked up."""
        asked = read_path(path, self._in.program)
        link = await self._in.links.look_up_link(asked.code) if asked.code else None
        partner_id = link.partner_id if link else asked.partner_id
        waited_s = time.monotonic() - came_s
        standing = await self._in.links.look_up_partner(partner_id, waited_s) if partner_id else None
        return target_of(asked, link, standing, self._in.program)


async def _respond(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
    fixed = [(b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *fixed]})
    await send({"type": "http.response.body", "body": b""})
