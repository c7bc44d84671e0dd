"""The app: routes, middleware and error handlers, each as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import perf_counter
from urllib.parse import quote

import anyio
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attribution.client_stores import ClientStores
from attribution.warehouse import Warehouse
from reports import health, sign_in
from reports.access import ADMIN, ANY_PAGE, FINANCE, MARKETING, PARTNER, call, page, whole
from reports.admin import pages as admin
from reports.calls import CALLS
from reports.finance import pages as finance
from reports.marketing import model_pages, whatif_page
from reports.marketing import pages as marketing
from reports.openapi import docs, openapi
from reports.pages import SECURITY_HEADERS, STATIC
from reports.partner_api.serving import partner_api_routes
from reports.partner_app import campaign_pages, payout_pages, token_pages
from reports.partner_app import pages as partner
from reports.problems import HANDLERS
from reports.remembered_rows import RememberedRows
from reports.room import MAX_QUERIES_AT_ONCE, AttributionState, Room
from tracker.directory import Directory
from tracker.program import Program
from tracker.settings import Settings
from tracker.tokens import Tokens

# What a partner sees, and an administrator who looks at a partner: the same pages under two paths.
PARTNER_PAGES = (
    ("/", partner.overview),
    ("/links", partner.links),
    ("/links/check", partner.link_check),
    ("/links/qr.svg", partner.link_qr_svg),
    ("/links/qr.png", partner.link_qr_png),
    ("/campaigns", campaign_pages.campaigns),
    ("/clicks", partner.clicks),
    ("/licenses", partner.licenses),
    ("/licenses/{license_id}", partner.license),
    ("/withdrawals", payout_pages.withdrawals),
    ("/commissions", partner.commissions),
    ("/commissions/{entry_id}", partner.chain),
    ("/commissions/{entry_id}/fragment", partner.chain_fragment),
)


async def with_slash(request: Request) -> Response:
    """An area's address without its last slash. The answer names no host, for the request's may be anybody's."""
    return RedirectResponse(f"{quote(request.url.path)}/", 308)


ROUTES: list[BaseRoute] = [
    Route("/", sign_in.sign_in_page),
    Route("/", sign_in.take_credentials, methods=["POST"]),
    Route("/sign-in", sign_in.follow_link),
    Route("/sign-out", page(sign_in.sign_out, ANY_PAGE), methods=["POST"]),
    Route("/health/live", health.live),
    Route("/health/ready", health.ready),
    Route("/metrics", health.metrics),
    Route("/openapi.json", openapi),
    Route("/docs", docs),
    *(Route(one.path, call(one.handler, one.scopes), methods=[one.method]) for one in CALLS),
    *partner_api_routes(),
    *(Route(f"/partner{path}", page(whole(handler), PARTNER)) for path, handler in PARTNER_PAGES),
    *(Route(f"/admin/partners/{{partner_id}}{path}", page(whole(handler), ADMIN)) for path, handler in PARTNER_PAGES),
    Route("/partner/campaigns", page(campaign_pages.change_campaigns, PARTNER), methods=["POST"]),
    Route("/partner/withdrawals/new", page(payout_pages.confirm, PARTNER)),
    Route("/partner/withdrawals/new", page(payout_pages.ask, PARTNER), methods=["POST"]),
    Route("/partner/billing", page(payout_pages.billing, PARTNER)),
    Route("/partner/billing", page(payout_pages.change_billing, PARTNER), methods=["POST"]),
    Route("/partner/tokens", page(token_pages.tokens, PARTNER)),
    Route("/partner/tokens", page(token_pages.change_tokens, PARTNER), methods=["POST"]),
    *(
        Route(path, with_slash)
        for path in ("/partner", "/admin", "/finance", "/marketing", "/admin/partners/{partner_id}")
    ),
    Route("/admin/", page(admin.health, ADMIN)),
    Route("/admin/deliveries", page(admin.deliveries, ADMIN)),
    Route("/admin/deliveries", page(admin.resend_deliveries, ADMIN), methods=["POST"]),
    Route("/admin/partners", page(whole(admin.partners), ADMIN)),
    Route("/admin/licenses", page(admin.find_license, ADMIN)),
    Route("/admin/licenses/{license_id}", page(whole(admin.license), ADMIN)),
    Route("/admin/links", page(admin.link_check, ADMIN)),
    Route("/admin/commissions", page(whole(admin.commissions), ADMIN)),
    Route("/admin/commissions/{entry_id}", page(whole(admin.chain), ADMIN)),
    Route("/admin/tokens", page(admin.tokens, ADMIN)),
    Route("/admin/tokens", page(admin.change_tokens, ADMIN), methods=["POST"]),
    Route("/finance/", page(finance.withdrawals, FINANCE)),
    Route("/finance/withdrawals.csv", page(finance.withdrawals_csv, FINANCE)),
    Route("/finance/withdrawals/{withdrawal_id:int}/{status}", page(finance.confirm, FINANCE)),
    Route("/finance/withdrawals/{withdrawal_id:int}/{status}", page(finance.settle, FINANCE), methods=["POST"]),
    Route("/marketing/", page(whole(marketing.funnel_page), MARKETING)),
    Route("/marketing/funnel", page(whole(marketing.funnel_page), MARKETING)),
    Route("/marketing/funnel.csv", page(whole(marketing.funnel_csv), MARKETING)),
    Route("/marketing/models", page(model_pages.models_page, MARKETING)),
    Route("/marketing/models.csv", page(model_pages.models_csv, MARKETING)),
    Route("/marketing/whatif", page(whatif_page.whatif_page, MARKETING)),
    Route("/marketing/whatif.csv", page(whatif_page.whatif_csv, MARKETING)),
    Mount("/static", StaticFiles(directory=STATIC)),
]


class AnswerHeaders:
    """ASGI middleware that puts the security headers on every answer, and those in `request.state.answer_headers`: a
    partner's program gets these, and is told how long its answer took in the server (`Server-Timing`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                own = scope.get("state", {}).get("answer_headers")
                timing = {"Server-Timing": f"app;dur={1000 * (perf_counter() - began):.1f}"} if own is not None else {}
                for name, value in (*SECURITY_HEADERS.items(), *(own or {}).items(), *timing.items()):
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


MIDDLEWARE = [
    Middleware(health.RequestCounts),
    Middleware(AnswerHeaders),
]


def create_app(
    settings: Settings,
    program: Program,
    redis: Redis,
    warehouse: Warehouse,
    tokens: Tokens,
    secret: bytes,
    attribution: AttributionState | None,
    now_ms: Callable[[], int],
) -> Starlette:
    """The app on stores that are connected already. `attribution` is None where it runs in another process."""
    app = Starlette(routes=ROUTES, middleware=MIDDLEWARE, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    # The app changes nothing of a directory that Redis has lost and attribution is putting back.
    directory = Directory(redis, settings.journal_bound, was_complete=lambda: True)
    stores = ClientStores(warehouse, program.data_centers)
    app.state.room = Room(
        settings,
        program,
        redis,
        warehouse,
        tokens,
        directory,
        stores,
        secret,
        attribution,
        now_ms,
        queries_at_once=anyio.CapacityLimiter(MAX_QUERIES_AT_ONCE),
        heavy_at_once=anyio.CapacityLimiter(1),
        looks_at_once=anyio.CapacityLimiter(1),
        remembered=RememberedRows(),
    )
    app.state.request_counts = Counter[str]()
    app.state.request_seconds = 0.0
    return app
