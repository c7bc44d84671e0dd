"""Reads of one round: what a request reads is never half of a round and half of the one before.

Attribution takes a mark away while it publishes a round (attribution/publication.py). A read that finds the same mark
before and after was of one round; one that does not is done again. Where there is no mark for longer than publishing
takes, for a process died doing so, or Redis is away, ClickHouse is asked instead whether its newest round is whole.
Until it is, the read waits; what takes longer is answered by a 503 that says when to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import anyio
from redis.exceptions import RedisError

from attribution.publication import SETTLED
from reports.remembered_rows import Changes, Seen
from reports.room import Room
from tracker import redis_keys
from tracker.errors import Unavailable

T = TypeVar("T")

PROGRESS = (SETTLED, "attributed", "stored", "duplicates", "quarantined")
"""Of the hash of progress: whatever a load or a round changes."""
MOST_READS = 5
"""Of one request. A round comes twice a second at most, so that already the second is rarely needed."""
WAIT_SECONDS = 2.0
"""How long a read waits for a round that is being published; that takes 10 to 30 ms, of a rebuild's round seconds."""
POLL_SECONDS = 0.005
POLLS_PER_QUESTION = 10
"""How often Redis is looked at, while a read waits, before ClickHouse is asked, and before it is asked again."""
MARK_SECONDS = 0.25
"""How long Redis may take to say the mark."""
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Visible:
    """What readers see now. `round` is a word for the round, another one after every publishing; `word` one for all,
    loads included."""

    round: str
    word: tuple[object, ...]

    @property
    def number(self) -> int:
        """The round's number."""
        return int(self.round.partition(" ")[0])


async def of_one_round(room: Room, partner_id: str, read: Callable[[Room], Awaitable[T]]) -> T:
    """What `read` answers or raises, of one round, in a room that may remember rows. It may be called several times,
    and so must change nothing. `partner_id` is whom alone the read is about; empty for several partners.

    Raises Unavailable where the newest round does not become whole, or rounds follow too fast on each other.
    """
    before = await visible(room)
    await _follow(room, before)
    reading = replace(room, is_reading=True)
    for _ in range(MOST_READS):
        look = room.remembered.look
        found: T | None = None
        problem: Exception | None = None
        try:
            found = await read(reading)
        except Exception as error:  # whatever it was, half a round may be why
            problem = error
        now = await visible(room)
        if now.round != before.round:
            await _follow(room, now)
        if now.round == before.round or not room.remembered.has_changed(partner_id, since=look):
            if problem is not None:
                raise problem
            return cast("T", found)
        before = now
    raise Unavailable("New results came in again and again while these were read; try again.", RETRY_AFTER_SECONDS)


async def visible(room: Room) -> Visible:
    """What readers see whole now. Waits while a round is half published, and raises Unavailable when that takes
    WAIT_SECONDS."""
    deadline = anyio.current_time() + WAIT_SECONDS
    looks = 0
    is_away = False
    while True:
        marked, redis_answers = await _mark(room)
        if marked is not None:
            return marked
        has_gone = not redis_answers and not is_away
        is_away = not redis_answers
        is_last = anyio.current_time() > deadline
        if has_gone or is_last or (looks and looks % POLLS_PER_QUESTION == 0):
            newest = await _newest(room, 0)
            if newest["is_settled"]:
                marked = (await _mark(room))[0] if redis_answers else None  # it may have come back meanwhile
                return marked or Visible(str(newest["round"]), (newest["round"], newest["newest_load"]))
        if is_last:
            raise Unavailable("New results are being published; try again in a moment.", RETRY_AFTER_SECONDS)
        looks += 1
        await anyio.sleep(POLL_SECONDS)


async def _mark(room: Room) -> tuple[Visible | None, bool]:
    """The mark of attribution, and how far loading has come; None where the mark is away. And whether Redis answers."""
    try:
        async with asyncio.timeout(MARK_SECONDS):
            found = await cast("Awaitable[list[bytes | None]]", room.redis.hmget(redis_keys.PROGRESS, PROGRESS))
    except (RedisError, OSError, TimeoutError):
        return None, False
    settled = found[0]
    return (None if settled is None else Visible(settled.decode(), tuple(found))), True


async def _follow(room: Room, seen: Visible) -> None:
    """Have the room forget what has changed."""

    async def changes_since(before: Seen | None) -> Changes:
        newest = await _newest(room, before.load if before else 0)
        load: int = newest["newest_load"]
        # What is half published now may be half read, and is forgotten when it is whole.
        whole: int = newest["round"] if newest["is_settled"] else max(0, newest["round"] - 1)
        # What came after the mark that was seen is asked for once more by who sees the next.
        round = min(whole, seen.number)
        if before is None or load < before.load or whole < before.round or _is_told_anew(before, seen):
            return Changes(round, load, None)
        partners: dict[str, bool] = {}
        if load > before.load:
            clicked = await room.look("changed_by_clicks", after_load=before.load)
            partners.update(dict.fromkeys((row["partner_id"] for row in clicked), False))
        changed: list[dict[str, Any]] = []
        if newest["brought_facts"]:
            changed += await room.look("changed_by_facts", after_load=before.load)
        if round > before.round:
            changed += await room.look("changed_by_rounds", after_round=before.round, through_round=round)
        partners.update(dict.fromkeys((row["partner_id"] for row in changed), True))
        return Changes(round, load, partners)

    await room.remembered.follow(seen, changes_since)


def _is_told_anew(before: Seen, seen: Visible) -> bool:
    """Whether the same round is told by another word than before: a rebuild may have made its tables again."""
    told = cast("Visible", before.visible)
    return told.number == seen.number and told.round != seen.round


async def _newest(room: Room, after_load: int) -> dict[str, Any]:
    return (await room.look("settled_round", after_load=after_load))[0]
