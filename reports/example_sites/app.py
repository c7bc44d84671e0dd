"""The two sites, by host name, as one app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from reports.example_sites import livechat, partner_site
from reports.example_sites.pages import EUROPE, FOLDER, Page, Sites, Take, form, page, shown

JOIN = shown("join.html")
LIVECHAT_PAGES = (
    ("/", shown("home.html")),
    ("/pricing/", livechat.pricing),
    ("/features/help-widget/", shown("help_widget.html")),
    ("/signup/", livechat.signup),
    ("/account/{license_id}/", livechat.account),
)
LIVECHAT_FORMS = (
    ("/signup/", livechat.sign_up, livechat.signup),
    ("/account/{license_id}/pay/", livechat.pay, livechat.account),
    ("/account/{license_id}/refund/", livechat.refund, livechat.account),
)
PARTNER_PAGES = (
    ("/", shown("partners_home.html")),
    ("/how-it-works/", shown("how_it_works.html")),
    ("/stories/a-year-of-reviews/", shown("story.html")),
    ("/join/", JOIN),
    ("/welcome/{key}/", partner_site.welcome),
)
PARTNER_FORMS = (("/join/", partner_site.join, JOIN),)


def create_app(sites: Sites) -> Starlette:
    """Both sites, and what tells Lasttouch again what it did not take at once."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        telling = asyncio.create_task(_keep_telling(sites), name="tell what waits")
        yield
        telling.cancel()

    livechat_routes = [one for base in ("", EUROPE) for one in _routes(base, LIVECHAT_PAGES, LIVECHAT_FORMS)]
    partner_routes = _routes("", PARTNER_PAGES, PARTNER_FORMS)
    app = Starlette(
        lifespan=lifespan,
        routes=[
            Host(_host(sites.livechat_url), Router(_site(livechat_routes))),
            Host(_host(sites.partners_url), Router(_site(partner_routes))),
            Route("/{path:path}", _elsewhere),
        ],
    )
    app.state.sites = sites
    return app


def _routes(base: str, pages: Sequence[tuple[str, Page]], forms: Sequence[tuple[str, Take, Page]]) -> list[BaseRoute]:
    return [
        *(Route(f"{base}{path}", page(show)) for path, show in pages),
        *(Route(f"{base}{path}", form(take, show), methods=["POST"]) for path, take, show in forms),
    ]


def _site(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    static = Mount("/static", StaticFiles(directory=FOLDER / "static"))
    return [static, *routes, Route("/{path:path}", page(shown("not_found.html", 404)))]


async def _keep_telling(sites: Sites) -> None:
    while True:  # noqa: ASYNC110 (it does not wait for anything to happen: it works, and pauses)
        await asyncio.sleep(await asyncio.to_thread(sites.outbox.tell_waiting))


async def _elsewhere(request: Request) -> Response:
    """Another host name, such as `localhost`: the sites have names of their own."""
    sites: Sites = request.app.state.sites
    return PlainTextResponse(f"The example sites are {sites.livechat_url}/ and {sites.partners_url}/\n", 404)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
