"""`POST /touch`: a page of the program reports the landing of a direct link (linker.js), which no redirect saw.

Only the program's own sites may call it from a browser. It is screened like a redirect (R1). There is no rate limit
yet. A visitor's id is random and known to nobody else, so a stranger can only make clicks of visitors of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker.api import read_limited
from tracker.bodies import parse_json
from tracker.click_intake import ClickIntake
from tracker.errors import Forbidden, Invalid, Problem, Unavailable
from tracker.ids import is_caller_id, is_uuid, new_time_ordered_id
from tracker.landing import read_landing, read_query, split_query
from tracker.problems import on_problem, on_unavailable
from tracker.program import Product, Program
from tracker.redirect import Fresh, Target, View, clicked, read_headers, result_of
from tracker.screening import screen

MAX_BODY_BYTES = 4096
MAX_CAMPAIGN = 128
CAMPAIGN_PREFIX = "pp_"
PREFLIGHT_SECONDS = 86_400


class Touch:
    """The handler of `/touch`, with what it needs."""

    def __init__(self, intake: ClickIntake) -> None:
        self._in = intake

    def routes(self) -> list[Route]:
        return [Route("/touch", self.respond, methods=["POST", "OPTIONS"])]

    async def respond(self, request: Request) -> Response:
        """204 once the click is durable; problem documents; CORS headers for the program's hosts only."""
        origin = request.headers.get("origin")
        if origin is not None and not is_program_origin(origin, self._in.program):
            return await on_problem(request, Forbidden("only pages of the program's own sites may report touches"))
        try:
            response = Response(status_code=204)
            if request.method == "POST":
                response.headers["X-Lasttouch"] = await self._take(request)
        except Problem as problem:
            response = await on_problem(request, problem)
        except Unavailable as error:
            response = await on_unavailable(request, error)
        if origin is not None:
            response.headers.update(_cors(origin, is_preflight=request.method == "OPTIONS"))
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Origin"
        return response

    async def _take(self, request: Request) -> str:
        """Parse, decide and record; what X-Lasttouch says."""
        reported = read_report(parse_json(await read_limited(request, MAX_BODY_BYTES)), self._in.program)
        now_ms = self._in.now_ms()
        # The page's referrer counts, not that of the request, which is the page itself.
        headers = {**read_headers(request.scope["headers"]), "referer": reported.referrer}
        peer = request.client.host if request.client else ""
        client = self._in.clients.read(peer, request.url.scheme, headers)
        screened = screen(request.method, headers, self._in.program)
        standing = await self._in.links.look_up_partner(reported.partner_id)
        target = Target(reported.partner_id, standing, reported.product, reported.campaign)
        fresh = Fresh(now_ms, new_time_ordered_id(now_ms, self._in.random_bytes), reported.visitor_id)
        visitor_id = None if screened.is_opted_out else reported.visitor_id
        view = View(request.method, "", headers, client)
        result = result_of(target, screened.verdict, now_ms)
        if not await self._in.journal.append(
            clicked(view, target, screened, visitor_id, fresh, reported.passed, "touch")
        ):
            self._in.metrics.clicks.add("touch", "not-recorded")
            raise Unavailable("the touch could not be recorded; try again")
        self._in.metrics.clicks.add("touch", result)
        return result


class Report(NamedTuple):
    """What a page reported. `passed` are the landing URL's parameters without ours, as sent."""

    visitor_id: str
    partner_id: str
    product: Product
    campaign: str
    passed: list[str]
    referrer: str


def read_report(document: Mapping[str, Any], program: Program) -> Report:
    """A touch's body. Raises Invalid with every bad field."""
    errors: list[dict[str, str]] = []

    def text(field: str, is_right: Callable[[str], bool], message: str) -> str:
        value = document.get(field)
        if isinstance(value, str) and is_right(value):
            return value
        errors.append({"field": field, "message": message})
        return ""

    visitor_id = text("visitor_id", is_uuid, "must be a UUID in canonical lower-case text, and not the nil UUID")
    partner_id = text("partner_id", is_caller_id, "must be text of 1–64 characters of A–Z a–z 0–9 _ . -")
    url = text("url", lambda value: _product_of(value, program) is not None, "must be a URL on a host of the program")
    product = _product_of(url, program)
    referrer = document.get("referrer")
    if not isinstance(referrer, str | None):
        errors.append({"field": "referrer", "message": "must be text"})
    if errors or product is None:
        raise Invalid.fields(errors)
    query = read_query(urlsplit(url).query.encode("utf-8", "replace"))
    passed, _ = split_query(query)
    return Report(visitor_id, partner_id, product, campaign_of(passed), passed, referrer or "")


def campaign_of(pairs: Sequence[str]) -> str:
    """The slug in `utm_campaign`, where it is one of ours."""
    for pair in pairs:
        name, _, value = pair.partition("=")
        slug = unquote_plus(value)
        if (
            name == "utm_campaign"
            and slug.startswith(CAMPAIGN_PREFIX)
            and len(slug) <= MAX_CAMPAIGN
            and slug.isprintable()
        ):
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
    headers = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    if is_preflight:
        headers["Access-Control-Allow-Methods"] = "POST"
        headers["Access-Control-Allow-Headers"] = "Content-Type"
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return headers
