"""API tokens: kept as SHA-256, shown once, revoked at once everywhere.

Scopes: `admin` may do everything; `service` talks to the Conversions API; `marketing` and `finance` read
their reports; `partner` reads one partner's data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.errors import Conflict

SCOPES = ("admin", "service", "marketing", "finance", "partner")
MAX_TOKEN_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Token:
    """Who a bearer is. `partner_id` is empty unless the scope is `partner`; `created_at` is in ms."""

    id: int
    scope: str
    partner_id: str
    label: str
    created_at: int


ADMIN = Token(0, "admin", "", "LASTTOUCH_ADMIN_TOKEN", 0)


class Tokens:
    """Issues, verifies and revokes tokens in the directory."""

    def __init__(self, redis: Redis, admin_token: str) -> None:
        self._redis = redis
        self._admin_token = admin_token.encode()

    async def verify(self, bearer: str) -> Token | None:
        """The token of a bearer credential, or None when it is unknown or revoked."""
        if not bearer or len(bearer) > MAX_TOKEN_LENGTH:
            return None
        if hmac.compare_digest(bearer.encode(), self._admin_token):
            return ADMIN
        stored = await self._redis.hget(redis_keys.TOKENS, _hashed(bearer))
        return Token(**json.loads(stored)) if stored else None

    async def issue(self, scope: str, label: str, now_ms: int, partner_id: str = "") -> tuple[Token, str]:
        """A new token and its secret, which is told this once. Raises Conflict when the label is in use."""
        if any(token.label == label for token in await self.list(scope, partner_id)):
            raise Conflict(f"label: another active token is called {label!r}; choose another label or revoke that one")
        secret = f"lt_{scope[0]}_{secrets.token_urlsafe(32)}"
        number: int = await self._redis.incr(redis_keys.TOKEN_COUNTER)
        token = Token(number, scope, partner_id, label, now_ms)
        await self._write(_hashed(secret), json.dumps(asdict(token)), now_ms)
        return token, secret

    async def list(self, scope: str, partner_id: str = "") -> list[Token]:
        """Active tokens of a scope (and partner), newest first."""
        return sorted((token for _, token in await self._all(scope, partner_id)), key=lambda t: -t.id)

    async def revoke(self, scope: str, token_id: int, now_ms: int, partner_id: str = "") -> bool:
        """Make a token stop working. False when there is no such active token."""
        for key, token in await self._all(scope, partner_id):
            if token.id == token_id:
                await self._write(key, "", now_ms)
                return True
        return False

    async def _all(self, scope: str, partner_id: str) -> Iterable[tuple[str, Token]]:
        stored = cast("dict[bytes, bytes]", await self._redis.hgetall(redis_keys.TOKENS))
        tokens = [(key.decode(), Token(**json.loads(value))) for key, value in stored.items()]
        return [(key, token) for key, token in tokens if token.scope == scope and token.partner_id == partner_id]

    async def _write(self, key: str, value: str, now_ms: int) -> None:
        """Change the directory and journal the change, as one step, so that a rebuild restores it."""
        entry: dict[str, Any] = {"kind": "token", "key": key, "value": value, "written_at": now_ms}
        async with self._redis.pipeline(transaction=True) as step:
            if value:
                step.hset(redis_keys.TOKENS, key, value)
            else:
                step.hdel(redis_keys.TOKENS, key)
            step.xadd(redis_keys.FACT_JOURNAL, {"facts": "", "n": 0, "entries": json.dumps(entry)})
            await step.execute()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
