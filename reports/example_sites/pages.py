"""What the pages of both sites share: templates, forms, and the headers that keep them safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio.to_thread
import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from reports.example_sites.outbox import Outbox, OutboxFull
from reports.example_sites.referral import cookies_to_keep

FOLDER = Path(__file__).parent
MAX_FORM_BYTES = 16_384
MAX_FIELDS = 50
EUROPE = "/eu"
"""The part of the LiveChat site that asks before it keeps anything in the browser."""
CONSENT_COOKIE = "site_consent"  # `yes` or `no`; static/consent.js sets it

Page = Callable[["Sites", Request], Response]
Take = Callable[["Sites", "Form", Mapping[str, str]], str]

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    money=lambda cents: f"${cents // 100:,}.{cents % 100:02}",
    json=lambda document: json.dumps(document, indent=2, ensure_ascii=False),
)


@dataclass(frozen=True, slots=True)
class Sites:
    """Where the two sites and Lasttouch are, and what is to be told. The addresses end without a slash."""

    livechat_url: str
    partners_url: str
    tracker_url: str
    app_url: str
    outbox: Outbox


@dataclass(frozen=True, slots=True)
class Form:
    """A posted form, and the cookies that came with it."""

    fields: Mapping[str, str]
    cookies: Mapping[str, str]


class Wrong(Exception):
    """The form cannot be taken as it is; the message tells the visitor why."""


class NotThere(Exception):
    """There is nothing to do it with."""


def page(show: Page) -> Callable[[Request], Any]:
    """A page that is read."""

    async def endpoint(request: Request) -> Response:
        return await anyio.to_thread.run_sync(partial(show, request.app.state.sites, request))

    return endpoint


def form(take: Take, show: Page) -> Callable[[Request], Any]:
    """A posted form. `take` gets it with the path's parameters, and gives where to go on; when something is wrong with
    it, `show` shows the page again, with what was filled in."""

    async def endpoint(request: Request) -> Response:
        sites: Sites = request.app.state.sites
        fields = await _read_fields(request)
        try:
            target = await anyio.to_thread.run_sync(
                partial(take, sites, Form(fields, request.cookies), request.path_params)
            )
        except NotThere:
            return render(sites, request, "not_found.html", 404)
        except (Wrong, OutboxFull) as wrong:
            request.state.wrong, request.state.filled = str(wrong), fields
            answer = await anyio.to_thread.run_sync(partial(show, sites, request))
            answer.status_code = 503 if isinstance(wrong, OutboxFull) else 422
            return answer
        return RedirectResponse(target, 303)

    return endpoint


def render(sites: Sites, request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page of a template."""
    base = EUROPE if request.url.path.startswith(f"{EUROPE}/") else ""
    values.update(
        sites=sites,
        site="partners" if request.url.hostname == urlsplit(sites.partners_url).hostname else "livechat",
        base=base,
        path=request.url.path,
        query=request.query_params,
        wrong=getattr(request.state, "wrong", ""),
        filled=getattr(request.state, "filled", request.query_params),
    )
    response = HTMLResponse(_ENVIRONMENT.get_template(template).render(values), status, _headers(sites))
    if not base or request.cookies.get(CONSENT_COOKIE) == "yes":
        for cookie in cookies_to_keep(request.query_params, request.headers, request.cookies):
            response.headers.append("Set-Cookie", cookie)
    return response


def shown(template: str, status: int = 200) -> Page:
    """A page without anything of its own to say."""
    return lambda sites, request: render(sites, request, template, status)


def now() -> str:
    """The time, as RFC 3339. Facts are told with their own time, for they may be told late."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def text(form: Form, name: str, most: int) -> str:
    """A field that must be filled in. Raises Wrong."""
    value = form.fields.get(name, "").strip()
    if not 0 < len(value) <= most:
        raise Wrong(f"Please fill in your {name}, in at most {most} characters.")
    return value


def email(form: Form) -> str:
    """The e-mail address of a form. Raises Wrong."""
    value = text(form, "email", 254)
    before, at, domain = value.rpartition("@")
    if not (before and at and domain) or " " in value:
        raise Wrong("Please give an e-mail address such as jane@example.com.")
    return value


def _headers(sites: Sites) -> dict[str, str]:
    """A strict policy: scripts from this site and from the tracker only, calls to the tracker only, and forms to the
    program's sites only."""
    tracker = _origin(sites.tracker_url)
    policy = (
        f"default-src 'none'; script-src 'self' {tracker}; connect-src {tracker}; "
        f"style-src 'self'; img-src 'self'; form-action 'self' {sites.livechat_url} {sites.partners_url}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return {"Cache-Control": "no-store", "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _read_fields(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}
