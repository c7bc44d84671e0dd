"""Short links and partners' standings in the memory of a tracker process, kept fresh.

At start everything is read from the directory; then the process follows the stream of changes, so that a new link works
in every process within milliseconds. When the connection was lost, or the stream was trimmed before it was read,
everything is read again. An id that memory does not know is looked up in Redis once before it is refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.standing import Change, Standing, standing

# How many entries one HSCAN, and one XREAD, brings; between two batches others get their turn.
SCAN_ENTRIES = 1000
CHANGE_ENTRIES = 500
# How long an XREAD waits for the next change.
FOLLOW_MS = 1000
# A call that takes longer is given up with its connection.
CALL_SECONDS = 10.0
RETRY_SECONDS = 0.5
# A visitor waits for look-ups, so they are short, of a link and its partner together; and when many unknown ids come at
# once, most are refused unasked.
LOOK_UP_SECONDS = 0.15
LOOK_UPS_AT_ONCE = 32
# While Redis does not answer, nobody waits for it in vain.
SILENT_SECONDS = 0.25

T = TypeVar("T")
log = logging.getLogger(__name__)


class Link(NamedTuple):
    """Where a short code leads. `landing_url` may be empty: the product's home page."""

    partner_id: str
    product: str
    campaign: str
    landing_url: str


class Links:
    """The directory's links and partners, as this process knows them.

    `redis` had better neither retry nor have a socket timeout: the limits are here, and a lost connection is noticed.
    """

    def __init__(
        self,
        redis: Redis,
        look_up_seconds: float = LOOK_UP_SECONDS,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._look_up_seconds = look_up_seconds
        self._monotonic_s = monotonic_s
        self._links: dict[str, Link] = {}
        self._partners: dict[str, Standing] = {}
        self._silent_until_s = 0.0
        self._look_ups = 0
        self._following: asyncio.Task[None] | None = None
        self._watching: list[Callable[[str | None], None]] = []
        self.loaded = asyncio.Event()
        """Set once everything was read for the first time: the process is ready."""

    def __len__(self) -> int:
        return len(self._links)

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Have `changed` called whenever an entry changes, with its short code or Partner ID; with None when any may
        have."""
        self._watching.append(changed)

    def _tell(self, name: str | None) -> None:
        for changed in self._watching:
            changed(name)

    async def start(self, wait_seconds: float = 10.0) -> None:
        """Load everything and go on following. When Redis does not answer in time, loading goes on behind."""
        self._following = asyncio.create_task(self._follow(), name="follow the directory")
        with suppress(TimeoutError):
            await asyncio.wait_for(self.loaded.wait(), wait_seconds)

    async def close(self) -> None:
        """Stop following."""
        # Again and again: in Python 3.11 a cancellation may get lost in redis-py (`asyncio.wait_for` swallows it).
        while self._following is not None and not self._following.done():
            self._following.cancel()
            await asyncio.wait([self._following], timeout=0.05)

    def find_link(self, code: str) -> Link | None:
        """The link of a short code, from memory."""
        return self._links.get(code)

    def standing(self, partner_id: str) -> Standing | None:
        """A partner's standing, from memory. It has no rates of the partner's own: those are not the tracker's."""
        return self._partners.get(partner_id)

    async def look_up_link(self, code: str) -> Link | None:
        """The link of a code, asked of Redis where memory does not know it. Never raises."""
        return self._links.get(code) or await self._look_up("link", redis_keys.LINKS, code, self._keep_link)

    async def look_up_partner(self, partner_id: str, waited_s: float = 0.0) -> Standing | None:
        """A partner's standing, asked of Redis where memory does not know it. Never raises.

        `waited_s` is how long the visitor has waited for another look-up before.
        """
        known = self._partners.get(partner_id)
        return known or await self._look_up("partner", redis_keys.PARTNERS, partner_id, self._keep_partner, waited_s)

    async def _look_up(
        self, kind: str, hash_key: str, key: str, keep: Callable[[str, bytes | None], T], waited_s: float = 0.0
    ) -> T | None:
        now_s = self._monotonic_s()
        if now_s < self._silent_until_s or self._look_ups >= LOOK_UPS_AT_ONCE:
            return None
        self._look_ups += 1
        try:
            async with asyncio.timeout(self._look_up_seconds - waited_s):
                value = await cast("Awaitable[bytes | None]", self._redis.hget(hash_key, key))
            return keep(key, value) if value is not None else None
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("look-up of a %s failed: %s", kind, error or type(error).__name__)
            self._silent_until_s = now_s + SILENT_SECONDS
            return None
        finally:
            self._look_ups -= 1

    async def _follow(self) -> None:
        """Load everything, apply changes as they come, and begin again whenever something may have been missed."""
        while True:
            try:
                position = await self._newest_change()
                await self._load_all()
                self.loaded.set()
                log.info("directory loaded: %d links, %d partners", len(self._links), len(self._partners))
                following: str | None = position
                while following is not None:
                    following = await self._apply_changes(following)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("cannot follow the directory: %s; trying again", error or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _newest_change(self) -> str:
        newest: Any = await _in_time(self._redis.xrevrange(redis_keys.CHANGES, count=1))
        return str(newest[0][0].decode()) if newest else "0-0"

    async def _load_all(self) -> None:
        """Read both hashes anew. What memory knew stays in use until the new is complete."""
        links: dict[str, Link] = {}
        partners: dict[str, Standing] = {}
        async for key, value in self._entries(redis_keys.LINKS):
            if (link := read_link(key, value)) is not None:
                links[key] = link
        async for key, value in self._entries(redis_keys.PARTNERS):
            if (partner := read_partner(key, value)) is not None:
                partners[partner.partner_id] = partner
        self._links, self._partners = links, partners
        self._tell(None)

    async def _entries(self, hash_key: str) -> AsyncIterator[tuple[str, bytes]]:
        cursor = 0
        batch: Any
        while True:
            cursor, batch = await _in_time(self._redis.hscan(hash_key, cursor=cursor, count=SCAN_ENTRIES))
            for key, value in batch.items():
                yield key.decode(), value
            if int(cursor) == 0:
                return
            await asyncio.sleep(0)

    async def _apply_changes(self, position: str) -> str | None:
        """Wait for changes after `position` and apply them. The new position, or None when some were missed."""
        changes = self._redis.xread({redis_keys.CHANGES: position}, count=CHANGE_ENTRIES, block=FOLLOW_MS)
        streams = await _in_time(changes)
        if not streams:
            return position
        entries: list[tuple[bytes, dict[bytes, bytes]]] = _entries_of(streams)
        if len(entries) == CHANGE_ENTRIES and await self._was_trimmed_after(position):
            return None
        changed = {(fields[b"kind"].decode(), fields[b"key"].decode()) for _, fields in entries if b"key" in fields}
        if any(kind == "all" for kind, _ in changed):
            return None
        links = [key for kind, key in changed if kind == "link"]
        partners = [key for kind, key in changed if kind == "partner"]
        await self._refresh(redis_keys.LINKS, links, self._keep_link)
        await self._refresh(redis_keys.PARTNERS, partners, self._keep_partner)
        return entries[-1][0].decode()

    async def _was_trimmed_after(self, position: str) -> bool:
        """Whether entries after `position` may be gone. Asked only when we lag, for else they cannot be."""
        oldest: Any = await _in_time(self._redis.xrange(redis_keys.CHANGES, count=1))
        return bool(oldest) and _stream_order(oldest[0][0].decode()) > _stream_order(position)

    async def _refresh(self, hash_key: str, keys: list[str], keep: Callable[[str, bytes | None], object]) -> None:
        if keys:
            values = await _in_time(cast("Awaitable[list[bytes | None]]", self._redis.hmget(hash_key, keys)))
            for key, value in zip(keys, values, strict=True):
                keep(key, value)

    def _keep_link(self, code: str, value: bytes | None) -> Link | None:
        self._tell(code)
        link = read_link(code, value) if value is not None else None
        if link is None:
            self._links.pop(code, None)
        else:
            self._links[code] = link
        return link

    def _keep_partner(self, partner_id: str, value: bytes | None) -> Standing | None:
        self._tell(partner_id)
        partner = read_partner(partner_id, value) if value is not None else None
        if partner is None:
            self._partners.pop(partner_id, None)
        else:
            self._partners[partner.partner_id] = partner
        return partner


def read_link(code: str, value: bytes) -> Link | None:
    """A link from its directory entry (see redis_keys.LINKS); None, and a line in the log, when it cannot be read."""
    try:
        entry = json.loads(value)
        return Link(
            sys.intern(entry["partner_id"]),
            sys.intern(entry["product"]),
            sys.intern(entry.get("campaign") or ""),
            str(entry.get("landing_url") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("the directory's entry of link %r cannot be read: %r", code, error)
        return None


def read_partner(partner_id: str, value: bytes) -> Standing | None:
    """A standing from a directory entry (see redis_keys.PARTNERS); None, and a line in the log, when it has faults."""
    try:
        entry = json.loads(value)
        rows = entry.get("changes") or ()
        changes = [Change(int(at), str(event_id), sys.intern(kind)) for at, event_id, kind in rows]
        # Links name their partner by the same string, so that a million of them cost one.
        return standing(sys.intern(partner_id), int(entry["joined_at"]), str(entry.get("email_hash") or ""), changes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("the directory's entry of partner %r cannot be read: %r", partner_id, error)
        return None


async def _in_time(answer: Awaitable[T]) -> T:
    async with asyncio.timeout(CALL_SECONDS):
        return await answer


def _entries_of(streams: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries in XREAD's answer on one stream, which is a list in RESP2 and a map in RESP3."""
    batch: Any = next(iter(streams.values())) if isinstance(streams, dict) else streams[0][1]
    if batch and isinstance(batch[0], list) and batch[0] and isinstance(batch[0][0], tuple):
        batch = batch[0]
    return list(batch)


def _stream_order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)
