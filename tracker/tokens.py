"""API tokens: kept as SHA-256, shown once, revoked at once everywhere.

Scopes: `admin` may do everything; `service` talks to the Conversions API; `marketing` and `finance` read
their reports; `partner` reads one partner's data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import cast

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.directory import Directory, Key, Known, Step
from tracker.errors import Conflict
from tracker.state import change, state_step

MAX_TOKEN_LENGTH = 200
MAX_TOKENS = 100  # active ones of a scope or partner
ENDING_LENGTH = 4  # characters of 43: what is left is as good as all
BEFORE_FIRST = 1000  # numbers begin above those that programs try out: a test of `DELETE …/1` revokes nothing
USE_MS = 60_000  # how exactly the last use is kept
MOST_USES = 10_000  # tokens whose last use a process remembers


@dataclass(frozen=True, slots=True)
class Token:
    """Who a bearer is. `scope` is admin, service, marketing, finance or partner; `partner_id` is empty unless it is the
    last; times are in ms, 0 for never.

    `ending` is how the secret ends, for people to know it by. `last_used_at` is filled in lists only.
    """

    id: int
    scope: str
    partner_id: str
    label: str
    created_at: int
    expires_at: int = 0
    ending: str = ""
    last_used_at: int = 0

    def works_at(self, now_ms: int) -> bool:
        return not self.expires_at or now_ms < self.expires_at

    @property
    def masked(self) -> str:
        """The secret as lists show it."""
        return f"{_prefix(self.scope)}…{self.ending}"

    @property
    def owner(self) -> str:
        """Among whose tokens labels are unique: the field of TOKEN_LISTS."""
        return _owner(self.scope, self.partner_id)


ADMIN = Token(0, "admin", "", "LASTTOUCH_ADMIN_TOKEN", 0)


class Tokens:
    """Issues, verifies and revokes tokens in the directory."""

    def __init__(self, redis: Redis, admin_token: str) -> None:
        self._redis = redis
        self._directory = Directory(redis)
        self._admin_token = admin_token.encode()
        self._used: dict[str, int] = {}

    async def verify(self, bearer: str, now_ms: int) -> Token | None:
        """The token of a bearer credential, or None when it is unknown, revoked or expired."""
        if not bearer or len(bearer) > MAX_TOKEN_LENGTH:
            return None
        if hmac.compare_digest(bearer.encode(), self._admin_token):
            return ADMIN
        hashed = _hashed(bearer)
        stored = await self._redis.hget(redis_keys.TOKENS, hashed)
        token = Token(**json.loads(stored)) if stored else None
        if token is None or not token.works_at(now_ms):
            return None
        if now_ms - self._used.get(hashed, 0) >= USE_MS:
            await self._note_use(hashed, now_ms)
        return token

    async def issue(
        self, scope: str, label: str, now_ms: int, partner_id: str = "", expires_at: int = 0
    ) -> tuple[Token, str]:
        """A new token and its secret, which is told this once.

        Raises Conflict when the label is in use, or there are as many tokens as may be.
        """
        secret = _prefix(scope) + secrets.token_urlsafe(32)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(redis_keys.TOKEN_COUNTER, BEFORE_FIRST, nx=True)
            pipe.incr(redis_keys.TOKEN_COUNTER)
            number = int((await pipe.execute())[1])
        token = Token(number, scope, partner_id, label, now_ms, expires_at, secret[-ENDING_LENGTH:])

        async def add(known: Known) -> tuple[None, Step]:
            owned = await self._owned(known, token.owner)
            active = {key: one for key, one in owned.items() if one.works_at(now_ms)}
            if any(one.label == label for one in active.values()):
                said = f"another active token is called {label!r}; choose another label or revoke that one"
                raise Conflict(f"label: {said}", [{"field": "label", "message": said}])
            if len(active) >= MAX_TOKENS:
                raise Conflict(f"There are {MAX_TOKENS} active tokens, as many as may be; revoke one first.")
            write: dict[Key, str | None] = {}
            for key in owned.keys() - active.keys():
                write |= _gone(key)
            write[redis_keys.TOKENS, _hashed(secret)] = _stored(token)
            write[redis_keys.TOKEN_LISTS, token.owner] = json.dumps([*active, _hashed(secret)])
            return None, state_step(known, write)

        await change(self._directory, [(redis_keys.TOKEN_LISTS, token.owner)], add)
        return token, secret

    async def list(self, scope: str, now_ms: int, partner_id: str = "") -> list[Token]:
        """Active tokens of a scope (and partner), newest first, with their last use."""
        known = Known()
        owner = _owner(scope, partner_id)
        await self._directory.read(known, [(redis_keys.TOKEN_LISTS, owner)])
        owned = await self._owned(known, owner)
        used = Known()
        await self._directory.read(used, [(redis_keys.TOKEN_USES, key) for key in owned])
        found = [
            replace(token, last_used_at=int(used.get(redis_keys.TOKEN_USES, key) or 0))
            for key, token in owned.items()
            if token.works_at(now_ms)
        ]
        return sorted(found, key=lambda token: -token.id)

    async def revoke(self, scope: str, token_id: int, now_ms: int, partner_id: str = "") -> bool:
        """Make a token stop working. False when there is no such active token."""
        owner = _owner(scope, partner_id)

        async def remove(known: Known) -> tuple[bool, Step | None]:
            owned = await self._owned(known, owner)
            gone = [key for key, one in owned.items() if one.id == token_id]
            if not gone or not owned[gone[0]].works_at(now_ms):
                return False, None
            left = [key for key in owned if key not in gone]
            return True, state_step(known, {(redis_keys.TOKEN_LISTS, owner): json.dumps(left), **_gone(gone[0])})

        return await change(self._directory, [(redis_keys.TOKEN_LISTS, owner)], remove)

    async def _owned(self, known: Known, owner: str) -> Mapping[str, Token]:
        """The tokens of an owner by their hashes, oldest first; they are added to what is known."""
        listed = known.get(redis_keys.TOKEN_LISTS, owner)
        if listed is None and not await self._redis.exists(redis_keys.TOKEN_LISTS):
            await self._make_lists()
            known.entries.clear()
            await self._directory.read(known, [(redis_keys.TOKEN_LISTS, owner)])
            listed = known.get(redis_keys.TOKEN_LISTS, owner)
        keys = [(redis_keys.TOKENS, hashed) for hashed in json.loads(listed or "[]")]
        await self._directory.read(known, keys)
        stored = {key[1]: known.get(*key) for key in keys}
        return {hashed: Token(**json.loads(value)) for hashed, value in stored.items() if value}

    async def _make_lists(self) -> None:
        """All owners' lists, from the tokens; a list that is there by now stays."""
        stored = cast("dict[bytes, bytes]", await self._redis.hgetall(redis_keys.TOKENS))
        for owner, listed in token_lists(stored).items():
            await self._redis.hsetnx(redis_keys.TOKEN_LISTS, owner, listed)

    async def _note_use(self, hashed: str, now_ms: int) -> None:
        if len(self._used) >= MOST_USES:
            self._used.clear()
        self._used[hashed] = now_ms
        await self._redis.hset(redis_keys.TOKEN_USES, hashed, str(now_ms))


def token_lists(stored: Mapping[bytes, bytes]) -> dict[str, str]:
    """TOKEN_LISTS as TOKENS says: owner → JSON list of hashes, oldest first."""
    tokens = sorted(
        ((Token(**json.loads(value)), key.decode()) for key, value in stored.items()), key=lambda pair: pair[0].id
    )
    lists: dict[str, list[str]] = {}
    for token, key in tokens:
        lists.setdefault(token.owner, []).append(key)
    return {owner: json.dumps(keys) for owner, keys in lists.items()}


def _gone(hashed: str) -> dict[Key, str | None]:
    """What removes a token."""
    return {(redis_keys.TOKENS, hashed): None, (redis_keys.TOKEN_USES, hashed): None}


def _prefix(scope: str) -> str:
    return f"lt_{scope[0]}_"


def _owner(scope: str, partner_id: str) -> str:
    return f"{scope} {partner_id}"


def _stored(token: Token) -> str:
    """A token as Redis keeps it: without what has no value, and without its last use."""
    document = asdict(token)
    return json.dumps({name: value for name, value in document.items() if value or name not in _OPTIONAL})


_OPTIONAL = ("expires_at", "ending", "last_used_at")


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
