"""The program's secret and what it keys: hashes of e-mails (R20) and, in visitors.py, the `lt` stamps."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from pathlib import Path
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys

REDIS_SECONDS = 1.0  # visitors wait for the start; the copy serves as well


def canonical_email(email: str) -> str:
    """An e-mail as it is compared: trimmed, without case."""
    return email.strip().casefold()


def email_hash(secret: bytes, email: str) -> str:
    """A keyed hash of an e-mail: 32 hex digits of HMAC-SHA-256. Empty for an empty e-mail."""
    canonical = canonical_email(email)
    if not canonical:
        return ""
    return hmac.new(secret, b"email:" + canonical.encode(), hashlib.sha256).hexdigest()[:32]


def mask_email(email: str) -> str:
    """R20: `jane.doe@example.com` → `j…e@e…m`."""
    local, _, domain = email.strip().partition("@")
    return "@".join(f"{part[:1]}…{part[-1:]}" if part else "" for part in (local, domain)) if domain else "…"


async def load_secret(redis: Redis, data: Path) -> bytes:
    """The secret that all processes of a program share: Redis has it, the data folder keeps a copy.

    The first process to ask makes it. A Redis that was lost gets it back from the copy, and while Redis is down, or
    does not answer soon, the copy does. Raises redis.RedisError when there is neither.
    """
    path = data / "secret.key"
    own = _kept(path)
    try:
        async with asyncio.timeout(REDIS_SECONDS if own else None):
            await redis.set(redis_keys.SECRET, own or os.urandom(32).hex(), nx=True)
            shared = cast("bytes", await redis.get(redis_keys.SECRET))
    except (RedisError, TimeoutError):
        if own:
            return bytes.fromhex(own)
        raise
    if own != shared.decode():
        _keep(path, shared.decode())
    return bytes.fromhex(shared.decode())


def _kept(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _keep(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(secret)
    temporary.replace(path)
