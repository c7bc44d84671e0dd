"""Who may do what. Calls of the API take a bearer token; pages take a session cookie, never the other way round.

A partner who asks for what is not theirs gets 404, whether it exists or not; another scope that may not use a
call gets 403.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from reports import sessions
from reports.call_limit import count_call
from reports.room import Room, room_of
from reports.whole_rounds import of_one_round
from tracker.api import MAX_BODY_BYTES, read_limited
from tracker.errors import Forbidden, Invalid, NotFound, Unauthorized
from tracker.tokens import Token

ADMIN = ("admin",)
MARKETING = ("admin", "marketing")
FINANCE = ("admin", "finance")
PARTNER = ("partner",)
ANY_PAGE = sessions.PAGE_SCOPES
MAX_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. `partner_id` is empty unless the scope is `partner`; `session` is None for calls of the API."""

    scope: str
    partner_id: str
    session: sessions.Session | None = None


Handler = Callable[[Room, Viewer, Request], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def call(handler: Handler, scopes: tuple[str, ...]) -> Endpoint:
    """`handler` as an endpoint of the API that bearers of these scopes may use."""

    async def endpoint(request: Request) -> Response:
        room = room_of(request)
        viewer = await _bearer(room, request)
        _allow(viewer, scopes)
        return await handler(room, viewer, request)

    return endpoint


def page(handler: Handler, scopes: tuple[str, ...]) -> Endpoint:
    """`handler` as a page for people signed in with these scopes."""

    async def endpoint(request: Request) -> Response:
        room = room_of(request)
        viewer = await signed_in(room, request)
        if viewer is None:
            raise Unauthorized("Sign in to see this page.")
        _allow(viewer, scopes)
        request.state.viewer = viewer
        return await handler(room, viewer, request)

    return endpoint


def whole(handler: Handler) -> Handler:
    """A handler that only reads, so that its answer is of one round; it may be called again for that."""

    @wraps(handler)
    async def reading(room: Room, viewer: Viewer, request: Request) -> Response:
        partner_id = viewer.partner_id or request.path_params.get("partner_id", "")
        return await of_one_round(room, partner_id, lambda reading: handler(reading, viewer, request))

    return reading


async def signed_in(room: Room, request: Request) -> Viewer | None:
    """Who is signed in by the session cookie, or None."""
    cookie = request.cookies.get(sessions.COOKIE, "")
    session = sessions.read_session(room.secret, cookie, room.now_ms()) if cookie else None
    if session is None or not await sessions.is_live(room.redis, session, room.settings.admin_token):
        return None
    return Viewer(session.scope, session.partner_id, session)


async def form_fields(request: Request) -> FormData:
    """The fields of a URL-encoded form. Raises TooLarge and Invalid."""
    body = await read_limited(request, MAX_BODY_BYTES)
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Invalid(f"the form has more than {MAX_FIELDS} fields") from None
    return FormData([*pairs])


async def read_form(room: Room, viewer: Viewer, request: Request) -> FormData:
    """The fields of a posted form. Raises Forbidden unless one of our own pages sent it."""
    refuse_foreign_post(room, request)
    form = await form_fields(request)
    expected = sessions.csrf_token(room.secret, viewer.session) if viewer.session else ""
    if not expected or not hmac.compare_digest(str(form.get("csrf", "")).encode(), expected.encode()):
        raise Forbidden("This form is out of date. Go back, reload the page and send it again.")
    return form


def refuse_foreign_post(room: Room, request: Request) -> None:
    """Raises Forbidden when the browser says that another site sent the form."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    # A proxy may have changed the Host header; the app's public address is ours in any case.
    own = {request.headers.get("host"), urlsplit(room.settings.app_url).netloc}
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc not in own):
        raise Forbidden("This form came from another site.")


async def bearer_token(room: Room, request: Request) -> Token:
    """The valid token of a request. Raises Unauthorized, TooMany where a partner's token has made all its calls, and
    Unavailable where Redis lost the directory, and so tokens."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    token = await room.tokens.verify(credential.strip(), room.now_ms()) if scheme.lower() == "bearer" else None
    if token is None:
        await room.directory.require()
        raise Unauthorized("Send a valid token: Authorization: Bearer <token>")
    if token.scope == "partner":
        most = room.settings.partner_calls_per_minute
        request.state.answer_headers = await count_call(room.redis, token.id, most, room.now_ms())
    return token


async def _bearer(room: Room, request: Request) -> Viewer:
    token = await bearer_token(room, request)
    return Viewer(token.scope, token.partner_id)


def _allow(viewer: Viewer, scopes: tuple[str, ...]) -> None:
    if viewer.scope in scopes:
        return
    if viewer.scope == "partner":
        raise NotFound("There is nothing here for you.")
    areas = " or ".join("partners" if scope == "partner" else scope for scope in scopes)
    raise Forbidden(f"This is for {areas}; you are signed in as {viewer.scope}.")
