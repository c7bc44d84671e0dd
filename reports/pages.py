"""Pages: Jinja templates with autoescaping, one look, and the headers that keep them safe.

No page holds inline script or style, so the content security policy allows none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jinja2
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import HTMLResponse

from reports import sessions, wording
from reports.access import Viewer
from reports.room import Room, room_of
from tracker import redis_keys

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

NAVIGATION: dict[str, tuple[tuple[str, str], ...]] = {
    "partner": (
        ("/partner/", "Overview"),
        ("/partner/links", "Links"),
        ("/partner/campaigns", "Campaigns"),
        ("/partner/clicks", "Clicks"),
        ("/partner/licenses", "Licenses"),
        ("/partner/commissions", "Commission"),
        ("/partner/withdrawals", "Withdrawals"),
        ("/partner/tokens", "API tokens"),
    ),
    "admin": (
        ("/admin/", "Health"),
        ("/admin/partners", "Partners"),
        ("/admin/commissions", "Commission lines"),
        ("/admin/links", "Link checker"),
        ("/admin/tokens", "Tokens"),
        ("/finance/", "Withdrawals"),
        ("/marketing/funnel", "Funnel"),
        ("/marketing/models", "Models"),
        ("/marketing/whatif", "What if"),
    ),
    "finance": (("/finance/", "Withdrawals"),),
    "marketing": (
        ("/marketing/funnel", "Funnel"),
        ("/marketing/models", "Models"),
        ("/marketing/whatif", "What if"),
    ),
}


def home_of(scope: str) -> str:
    """Where someone of a scope lands after signing in."""
    return NAVIGATION[scope][0][0]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        day=wording.day, minute=wording.minute, money=wording.money, percent=wording.percent, count=wording.count
    )
    environment.globals.update(
        binding_reason=lambda key: wording.words(wording.BINDING_REASONS, key),
        click_verdict=lambda key: wording.words(wording.CLICK_REFUSALS, key),
        line_kind=lambda key: wording.words(wording.LINE_KINDS, key),
        subscription_change=lambda key: wording.words(wording.SUBSCRIPTION_CHANGES, key),
        stage_name=lambda key: wording.words(wording.STAGES, key),
        share=wording.share,
        version=_static_version(),
    )
    return environment


def _static_version() -> str:
    """Changes when a static file does, so that browsers fetch it anew."""
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]


_ENVIRONMENT = _environment()


async def show(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The page of a template. Every template gets who is signed in, the navigation and the example-data mark."""
    room = room_of(request)
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    values.update(
        program=room.program,
        viewer=viewer,
        csrf=sessions.csrf_token(room.secret, viewer.session) if viewer and viewer.session else "",
        navigation=NAVIGATION[viewer.scope] if viewer else (),
        path=request.url.path,
        is_demo=await _is_demo(room),
    )
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(values), status, {"Cache-Control": "no-store"})


async def _is_demo(room: Room) -> bool:
    try:
        return bool(await room.redis.exists(redis_keys.DEMO))
    except RedisError:
        return False  # the sign-in form shows without Redis; posting it then says that a store is down


def show_plain(template: str, status: int, headers: dict[str, str], **values: Any) -> HTMLResponse:
    """A page that needs no store: for when one is down."""
    values.update(viewer=None, csrf="", navigation=(), path="", is_demo=False, program=None)
    content = _ENVIRONMENT.get_template(template).render(values)
    return HTMLResponse(content, status, {**headers, "Cache-Control": "no-store"})
