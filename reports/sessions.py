"""Sessions of the pages: a signed cookie, single-use sign-in links, and tokens against forged forms.

The cookie carries who is signed in and until when, signed with the program's secret. Redis is asked on every
request whether the session was signed out, and whether the token that it came from still works.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass

from redis.asyncio import Redis
from starlette.responses import Response

from tracker import redis_keys

COOKIE = "lt_session"
SESSION_MS = 12 * 3_600_000
LINK_SECONDS = 15 * 60
MAX_COOKIE_LENGTH = 1000

# Scopes that have pages to sign in to.
PAGE_SCOPES = ("admin", "marketing", "finance", "partner")


def _link_key(key: str) -> str:
    return redis_keys.sign_in_link(hashlib.sha256(key.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in. `token_hash` is the SHA-256 of the token pasted, empty after a sign-in link."""

    id: str
    scope: str
    partner_id: str
    token_hash: str
    expires_at: int


def new_session(scope: str, partner_id: str, bearer: str, now_ms: int) -> Session:
    """A session of 12 hours. `bearer` is the token it comes from, empty after a sign-in link."""
    token_hash = hashlib.sha256(bearer.encode()).hexdigest() if bearer else ""
    return Session(secrets.token_urlsafe(18), scope, partner_id, token_hash, now_ms + SESSION_MS)


def sign_session(secret: bytes, session: Session) -> str:
    """The session as a cookie's value."""
    document = json.dumps(asdict(session), separators=(",", ":"))
    payload = base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
    return f"{payload}.{_signature(secret, 'session', payload)}"


def read_session(secret: bytes, cookie: str, now_ms: int) -> Session | None:
    """The session of a cookie's value, or None when it is not ours, was changed, or has expired."""
    payload, _, signature = cookie.partition(".")
    if len(cookie) > MAX_COOKIE_LENGTH or not cookie.isascii():
        return None
    if not hmac.compare_digest(signature, _signature(secret, "session", payload)):
        return None
    try:
        session = Session(**json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))
    except (binascii.Error, ValueError, TypeError):
        return None  # signed by an older version of this program
    return session if session.expires_at > now_ms else None


async def is_live(redis: Redis, session: Session, admin_token: str | None) -> bool:
    """Whether a session was not signed out and the token that it came from still works."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.exists(redis_keys.signed_out(session.id))
        pipe.hexists(redis_keys.TOKENS, session.token_hash)
        signed_out, token_works = await pipe.execute()
    if signed_out:
        return False
    if not session.token_hash or token_works:
        return True
    # The admin token is a setting and not in the directory.
    return session.scope == "admin" and (
        admin_token is None or hashlib.sha256(admin_token.encode()).hexdigest() == session.token_hash
    )


async def sign_out(redis: Redis, session: Session, now_ms: int) -> None:
    """End a session for good: a copy of its cookie is worth nothing from now on."""
    seconds = max(1, (session.expires_at - now_ms) // 1000 + 1)
    await redis.set(redis_keys.signed_out(session.id), 1, ex=seconds)


def csrf_token(secret: bytes, session: Session) -> str:
    """What a form of this session must carry, so that no other site can post it."""
    return _signature(secret, "csrf", session.id)


def set_cookie(response: Response, secret: bytes, session: Session, is_https: bool) -> None:
    """Hand the session to the browser; `Secure` where the app is served over https."""
    response.set_cookie(
        COOKIE,
        sign_session(secret, session),
        max_age=SESSION_MS // 1000,
        httponly=True,
        samesite="lax",
        secure=is_https,
    )


async def make_sign_in_link(
    redis: Redis, app_url: str, scope: str, partner_id: str = "", seconds: int = LINK_SECONDS
) -> str:
    """A link that signs its first follower in, once, within `seconds`. Redis keeps only its hash.

    `scope` is one of PAGE_SCOPES; `partner_id` is needed for `partner` and empty otherwise.
    """
    if scope not in PAGE_SCOPES or (scope == "partner") != bool(partner_id):
        raise ValueError(f"no pages for scope {scope!r} and partner {partner_id!r}")
    key = secrets.token_urlsafe(32)
    await redis.set(_link_key(key), json.dumps([scope, partner_id]), ex=seconds)
    return f"{app_url}/sign-in?key={key}"


async def use_sign_in_link(redis: Redis, key: str) -> tuple[str, str] | None:
    """The scope and partner of a link's key, which stops working with this; None when it is spent or unknown."""
    if not key or len(key) > 100:
        return None
    stored = await redis.getdel(_link_key(key))
    if stored is None:
        return None
    scope, partner_id = json.loads(stored)
    return scope, partner_id


def _signature(secret: bytes, purpose: str, text: str) -> str:
    return hmac.new(secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
