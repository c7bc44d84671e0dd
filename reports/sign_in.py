"""Signing in and out: by pasting a token, or by a link sent to a partner's e-mail address."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit

from redis.asyncio import Redis
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from reports import pages, sessions
from reports.access import Viewer, form_fields, read_form, refuse_foreign_post, signed_in
from reports.deliveries import NotTaken
from reports.mail import Letter, Post, render
from reports.room import Room, room_of
from tracker import redis_keys
from tracker.ids import new_time_ordered_id
from tracker.secret import email_hash

log = logging.getLogger(__name__)

MAX_LINKS_PER_QUARTER_HOUR = 5
_LOCAL_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9_.~%/?=&+:,-]*", re.ASCII)


async def sign_in_page(request: Request) -> Response:
    """`GET /`: the form, or the viewer's own pages when they are signed in."""
    viewer = await signed_in(room_of(request), request)
    if viewer:
        return RedirectResponse(pages.home_of(viewer.scope), 303)
    return await _form(request)


async def take_credentials(request: Request) -> Response:
    """`POST /`: a token signs in at once; an e-mail address is sent a link."""
    room = room_of(request)
    refuse_foreign_post(room, request)
    form = await form_fields(request)
    token, email, wanted = (str(form.get(name, "")).strip() for name in ("token", "email", "wanted"))
    if token:
        return await _sign_in_by_token(room, request, token, wanted)
    if email:
        sending = await _send_link(room, email)
        response = await _form(request, asked=True)
        response.background = sending
        return response
    return await _form(request, 400, "Paste a token, or give the e-mail address of your partner account.", wanted)


async def follow_link(request: Request) -> Response:
    """`GET /sign-in?key=…`: signs the first follower in. A HEAD or a prefetch does not use the link up."""
    room = room_of(request)
    looks_only = request.method == "HEAD" or "prefetch" in request.headers.get("sec-purpose", "")
    known = None if looks_only else await sessions.use_sign_in_link(room.redis, request.query_params.get("key", ""))
    if known is None:
        return await _form(request, 401, "This sign-in link was used already, or is too old. Ask for a new one.")
    scope, partner_id = known
    return _welcome(room, request, sessions.new_session(scope, partner_id, "", room.now_ms()), "")


async def sign_out(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /sign-out`."""
    await read_form(room, viewer, request)
    if viewer.session:
        await sessions.sign_out(room.redis, viewer.session, room.now_ms())
    response = RedirectResponse("/", 303)
    response.delete_cookie(sessions.COOKIE)
    return response


async def _sign_in_by_token(room: Room, request: Request, bearer: str, wanted: str) -> Response:
    token = await room.tokens.verify(bearer, room.now_ms())
    if token is None:
        return await _form(request, 401, "This token is not known, or was revoked.", wanted)
    if token.scope not in sessions.PAGE_SCOPES:
        return await _form(request, 403, f"A {token.scope} token has no pages; use it with the API.", wanted)
    session = sessions.new_session(token.scope, token.partner_id, bearer, room.now_ms())
    if token.expires_at:
        session = replace(session, expires_at=min(session.expires_at, token.expires_at))
    return _welcome(room, request, session, wanted)


def _welcome(room: Room, request: Request, session: sessions.Session, wanted: str) -> Response:
    is_local = _LOCAL_PATH.fullmatch(wanted) is not None
    response = RedirectResponse(wanted if is_local and wanted != "/" else pages.home_of(session.scope), 303)
    is_https = "https" in (request.url.scheme, urlsplit(room.settings.app_url).scheme)
    sessions.set_cookie(response, room.secret, session, is_https)
    return response


async def _send_link(room: Room, email: str) -> BackgroundTask | None:
    """Write a sign-in link to a partner who has this address.

    The page says the same either way, and is not kept waiting for the mail server (the answer is the task that sends),
    so it cannot be used to find out who is a partner.
    """
    hashed = email_hash(room.secret, email)
    partner_id = cast("bytes | None", await room.redis.hget(redis_keys.PARTNER_EMAILS, hashed))
    if await _asked_too_often(room.redis, hashed) or partner_id is None:
        return None
    link = await sessions.make_sign_in_link(room.redis, room.settings.app_url, "partner", partner_id.decode())
    text, html = render("sign_in", link=link)
    now_ms = room.now_ms()
    letter = Letter(new_time_ordered_id(now_ms), now_ms, email, "", "Your sign-in link", text, html)
    if room.settings.mail_server is not None:
        return BackgroundTask(_send, room, letter)
    await _send(room, letter)
    return None


async def _send(room: Room, letter: Letter) -> None:
    """Send a sign-in link once: who gets none asks again."""
    try:
        await Post.of(room.settings).send(letter)
    except NotTaken as error:
        log.warning("a sign-in link was not sent: %s", error)


async def _asked_too_often(redis: Redis, hashed: str) -> bool:
    key = redis_keys.sign_in_asked(hashed)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(key, 0, ex=sessions.LINK_SECONDS, nx=True)  # the first one sets when counting begins anew
        pipe.incr(key)
        _, asked = await pipe.execute()
    return int(asked) > MAX_LINKS_PER_QUARTER_HOUR


async def _form(
    request: Request, status: int = 200, message: str = "", wanted: str = "", asked: bool = False
) -> Response:
    return await pages.show(
        request,
        "sign_in.html",
        status,
        message=message,
        wanted=wanted,
        asked=asked,
        sends=room_of(request).settings.mail_server is not None,
    )
