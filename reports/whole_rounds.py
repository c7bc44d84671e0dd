"""Reads of one round: what a request reads is never half of a round and half of the one before.

Attribution takes a mark away while it publishes a round (attribution/publication.py). A read that finds the same mark
before and after was of one round; one that does not is done again. Where there is no mark, for a round is just being
published, a process died doing so, or Redis is away, ClickHouse is asked instead whether its newest round is whole.
Until it is, the read waits; what takes longer is answered by a 503 that says when to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import anyio
from redis.exceptions import RedisError

from attribution.publication import SETTLED
from reports.room import Room
from tracker import redis_keys
from tracker.errors import Unavailable

T = TypeVar("T")

MOST_READS = 5
"""Of one request. A round comes twice a second at most, so that already the second is rarely needed."""
WAIT_SECONDS = 2.0
"""How long a read waits for a round that is being published; that takes 10 to 30 ms, of a rebuild's round seconds."""
POLL_SECONDS = 0.005
POLLS_PER_QUESTION = 10
"""How often Redis is looked at, while a read waits, before ClickHouse is asked again."""
MARK_SECONDS = 0.25
"""How long Redis may take to say the mark."""
RETRY_AFTER_SECONDS = 1


async def of_one_round(room: Room, read: Callable[[], Awaitable[T]]) -> T:
    """What `read` answers or raises, of one round. It may be called several times, and so must change nothing.

    Raises Unavailable where the newest round does not become whole, or rounds follow too fast on each other.
    """
    before = await settled_round(room)
    for _ in range(MOST_READS):
        found: T | None = None
        problem: Exception | None = None
        try:
            found = await read()
        except Exception as error:  # whatever it was, half a round may be why
            problem = error
        now = await settled_round(room)
        if now == before:
            if problem is not None:
                raise problem
            return cast("T", found)
        before = now
    raise Unavailable("New results came in again and again while these were read; try again.", RETRY_AFTER_SECONDS)


async def settled_round(room: Room) -> str:
    """A word for the round that readers see whole now; another one after every publishing. Waits while there is none,
    and raises Unavailable when that takes WAIT_SECONDS."""
    deadline = anyio.current_time() + WAIT_SECONDS
    looks = 0
    while True:
        mark = await _mark(room)
        if mark is not None:
            return mark
        if looks % POLLS_PER_QUESTION == 0:
            newest = await room.row("settled_round")
            if newest is not None and newest["is_settled"]:
                return str(newest["round"])
        if anyio.current_time() > deadline:
            raise Unavailable("New results are being published; try again in a moment.", RETRY_AFTER_SECONDS)
        looks += 1
        await anyio.sleep(POLL_SECONDS)


async def _mark(room: Room) -> str | None:
    """The mark of attribution; None where it is away, or Redis is."""
    try:
        async with asyncio.timeout(MARK_SECONDS):
            found = await cast("Awaitable[bytes | None]", room.redis.hget(redis_keys.PROGRESS, SETTLED))
    except (RedisError, OSError, TimeoutError):
        return None
    return None if found is None else found.decode()
