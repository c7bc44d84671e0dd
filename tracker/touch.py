"""`POST /touch`: what linker.js tells of a landing on a page of the program, and how it learns who the visitor is.

A direct link's landing, which no redirect saw, becomes a click; it is screened like a redirect (R1). A landing with a
stamp is no click: the redirect, or an earlier landing, was. If the stamp is genuine and no other browser has claimed it
on this site, the browser becomes its visitor: `stamped`; or stays who it is here, where a hyperlink brought it and a
partner touched that visitor later (R2): `kept`. Else the landing is that of a direct link, by the visitor that the
browser falls back to. `POST /touch/stamp` gives a visitor a fresh stamp to travel with.

Every 204 says in `X-Lasttouch` what was done, and in `X-Lasttouch-Stamp` who the visitor is. Only the program's own
sites may call from a browser. A visitor's id is random and known to nobody else, so a stranger can only make clicks of
visitors of their own; how many is limited.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.allowance import Allowance
from tracker.api import read_limited
from tracker.bodies import parse_json
from tracker.campaigns import SLUG_PREFIX
from tracker.claims import Claims
from tracker.click_intake import ClickIntake
from tracker.client_address import Client
from tracker.errors import Forbidden, Invalid, Problem, TooLarge, TooMany, Unavailable
from tracker.events import Clicked
from tracker.ids import is_caller_id, is_uuid, new_time_ordered_id
from tracker.landing import read_landing, read_query, split_query
from tracker.problems import on_problem, on_unavailable
from tracker.program import Product, Program
from tracker.redirect import Fresh, Target, View, clicked, read_headers, result_of
from tracker.screening import screen
from tracker.visitors import OF_LINK, StampMaker, opted_out, read_stamp

MAX_BODY_BYTES = 4096
MAX_STAMP = 64
MAX_CAMPAIGN = 128
PREFLIGHT_SECONDS = 86_400
TRIES = 4  # about a second
A_VISITOR = "must be a UUID in canonical lower-case text, and not the nil UUID"
# A visitor lands now and then; a network (/24, /48) may be an office, or a carrier's many customers. Per worker.
VISITOR_BURST, VISITOR_PER_SECOND = 20, 0.2
NETWORK_BURST, NETWORK_PER_SECOND = 1000, 100.0


class Touch:
    """The handlers of `/touch` and `/touch/stamp`, with what they need."""

    def __init__(self, intake: ClickIntake, claims: Claims) -> None:
        self._in = intake
        self._claims = claims
        self._make_stamp = StampMaker(intake.secret, OF_LINK)
        self._visitors = Allowance(VISITOR_BURST, VISITOR_PER_SECOND)
        self._networks = Allowance(NETWORK_BURST, NETWORK_PER_SECOND)

    def routes(self) -> list[Route]:
        return [
            Route("/touch", self.respond, methods=["POST", "OPTIONS"]),
            Route("/touch/stamp", self.respond_with_stamp, methods=["POST", "OPTIONS"]),
        ]

    async def respond(self, request: Request) -> Response:
        """204 once the click is durable; problem documents; CORS headers for the program's hosts only."""
        return await self._answered(request, self._take)

    async def respond_with_stamp(self, request: Request) -> Response:
        """204 with a fresh stamp for the visitor in the body; none for one who asked not to be followed."""
        return await self._answered(request, self._give)

    async def _answered(self, request: Request, act: Callable[[Request, Caller], Awaitable[Answer]]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and not is_program_origin(origin, self._in.program):
            self._in.metrics.touches_refused.add("foreign-origin")
            return await on_problem(request, Forbidden("only pages of the program's own sites may report touches"))
        try:
            response = Response(status_code=204)
            if request.method == "POST":
                caller = self._caller(request)
                self._allow(self._networks, caller.client.ip_prefix)
                said, visitor_id = await act(request, caller)
                response.headers["X-Lasttouch"] = said
                if visitor_id is not None:
                    response.headers["X-Lasttouch-Stamp"] = self._make_stamp(visitor_id, self._in.now_ms())
        except Problem as problem:
            self._in.metrics.touches_refused.add(_refusal(problem))
            response = await on_problem(request, problem)
        except Unavailable as error:
            response = await on_unavailable(request, error)
        if origin is not None:
            response.headers.update(_cors(origin, is_preflight=request.method == "OPTIONS"))
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Origin"
        return response

    async def _take(self, request: Request, caller: Caller) -> Answer:
        """Parse, decide and record; what X-Lasttouch says, and who the visitor is."""
        reported = read_report(parse_json(await read_limited(request, MAX_BODY_BYTES)), self._in.program)
        self._allow(self._visitors, reported.visitor_id)
        now_ms = self._in.now_ms()
        # The page's referrer counts, not that of the request, which is the page itself.
        headers = {**caller.headers, "referer": reported.referrer}
        screened = screen(request.method, headers, self._in.program)
        if not screened.is_opted_out and (answer := await self._read_stamp(reported, now_ms)):
            self._in.metrics.clicks.add("touch", answer.said)
            return answer
        standing = await self._in.links.look_up_partner(reported.partner_id)
        target = Target(reported.partner_id, standing, reported.product, reported.campaign)
        fresh = Fresh(now_ms, new_time_ordered_id(now_ms, self._in.random_bytes), reported.visitor_id)
        visitor_id = None if screened.is_opted_out else reported.visitor_id
        view = View(request.method, "", headers, caller.client)
        result = result_of(target, screened.verdict, now_ms)
        if not await self._record(clicked(view, target, screened, visitor_id, fresh, reported.passed, "touch")):
            self._in.metrics.clicks.add("touch", "not-recorded")
            raise Unavailable("the touch could not be recorded; try again")
        self._in.metrics.clicks.add("touch", result)
        return Answer(result, visitor_id)

    async def _record(self, click: Clicked) -> bool:
        """Whether the click is durable. Nobody waits for it to be sent on, so it may take longer than a redirect's; the
        same click again is stored once."""
        for _ in range(TRIES):
            if await self._in.journal.append(click):
                return True
        return False

    async def _read_stamp(self, reported: Report, now_ms: int) -> Answer | None:
        """Who a browser is by the stamp that it landed with; None where that makes it nobody."""
        stamped = read_stamp(self._in.secret, reported.stamp, now_ms)
        if stamped is None or stamped == reported.visitor_id:
            return Answer("stamped", stamped) if stamped else None
        visitor_id = await self._claims.claim(reported.stamp, stamped, reported.host, reported.visitor_id)
        if visitor_id is None:
            return None
        return Answer("stamped" if visitor_id == stamped else "kept", visitor_id)

    async def _give(self, request: Request, caller: Caller) -> Answer:
        """The visitor of a body who wants a stamp."""
        document = parse_json(await read_limited(request, MAX_BODY_BYTES))
        visitor_id = document.get("visitor_id")
        if not isinstance(visitor_id, str) or not is_uuid(visitor_id):
            raise Invalid.fields([{"field": "visitor_id", "message": A_VISITOR}])
        self._allow(self._visitors, visitor_id)
        if opted_out(caller.headers, self._in.program):
            return Answer("opted-out", None)
        return Answer("stamp", visitor_id)

    def _caller(self, request: Request) -> Caller:
        headers = read_headers(request.scope["headers"])
        peer = request.client.host if request.client else ""
        return Caller(headers, self._in.clients.read(peer, request.url.scheme, headers))

    def _allow(self, allowance: Allowance, name: str) -> None:
        """Raises TooMany where `name` has had its share."""
        if wait_seconds := allowance.wait_seconds(name, self._in.now_ms() / 1000):
            raise TooMany("so many touches come from no browser; try again later", math.ceil(wait_seconds))


class Caller(NamedTuple):
    """Who asks: the request's headers by lower-case name, and the client."""

    headers: dict[str, str]
    client: Client


class Answer(NamedTuple):
    """What X-Lasttouch says, and who the visitor is; None for one who asked not to be followed."""

    said: str
    visitor_id: str | None


class Report(NamedTuple):
    """What a page reported. `passed` are the landing URL's parameters without ours, as sent; `host` is the URL's.

    `stamp` is empty for a direct link.
    """

    visitor_id: str
    partner_id: str
    product: Product
    campaign: str
    passed: list[str]
    referrer: str
    host: str
    stamp: str


def read_report(document: Mapping[str, Any], program: Program) -> Report:
    """A touch's body. Raises Invalid with every bad field."""
    errors: list[dict[str, str]] = []

    def text(field: str, is_right: Callable[[str], bool], message: str) -> str:
        value = document.get(field)
        if isinstance(value, str) and is_right(value):
            return value
        errors.append({"field": field, "message": message})
        return ""

    visitor_id = text("visitor_id", is_uuid, A_VISITOR)
    partner_id = text("partner_id", is_caller_id, "must be text of 1–64 characters of A–Z a–z 0–9 _ . -")
    url = text("url", lambda value: _product_of(value, program) is not None, "must be a URL on a host of the program")
    product = _product_of(url, program)
    referrer = document.get("referrer")
    if not isinstance(referrer, str | None):
        errors.append({"field": "referrer", "message": "must be text"})
    stamp = document.get("lt")
    if not isinstance(stamp, str | None):
        errors.append({"field": "lt", "message": "must be text"})
    if errors or product is None:
        raise Invalid.fields(errors)
    query = read_query(urlsplit(url).query.encode("utf-8", "replace"))
    passed, _ = split_query(query)
    host = urlsplit(url).netloc.lower()
    # A stamp that is none at all counts as one that is not genuine.
    stamp = stamp[:MAX_STAMP] if stamp else ""
    return Report(visitor_id, partner_id, product, campaign_of(passed), passed, referrer or "", host, stamp)


def campaign_of(pairs: Sequence[str]) -> str:
    """The slug in `utm_campaign`, where it is one of ours."""
    for pair in pairs:
        name, _, value = pair.partition("=")
        slug = unquote_plus(value)
        if name == "utm_campaign" and slug.startswith(SLUG_PREFIX) and len(slug) <= MAX_CAMPAIGN and slug.isprintable():
            return slug
    return ""


def is_program_origin(origin: str, program: Program) -> bool:
    """Whether an `Origin` header names a site of the program."""
    return read_landing(origin, program.hosts) is not None and origin.count("/") == 2


def _product_of(url: str, program: Program) -> Product | None:
    landing = read_landing(url, program.hosts)
    if landing is None:
        return None
    host = urlsplit(landing.base).netloc
    own_ports = (host.removesuffix(":80"), host.removesuffix(":443"))
    for product in program.products.values():
        if host in product.hosts or any(name in product.hosts for name in own_ports):
            return product
    return None


def _cors(origin: str, is_preflight: bool) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Lasttouch, X-Lasttouch-Stamp, Retry-After",
    }
    if is_preflight:
        headers["Access-Control-Allow-Methods"] = "POST"
        headers["Access-Control-Allow-Headers"] = "Content-Type"
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return headers


def _refusal(problem: Problem) -> str:
    """How the metric names a refusal."""
    if isinstance(problem, TooMany):
        return "too-many"
    return "too-large" if isinstance(problem, TooLarge) else "not-right"
