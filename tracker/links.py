"""Short links and partners' standings in the memory of a tracker process, kept fresh.

At start the machine's snapshot is read, where there is one, and the process serves with it. Then it follows the stream
of changes, so that a new link works in every process within milliseconds. Where the stream does not go on from what
memory has (the last change that was read is not in it any more), everything is read from Redis again, while memory goes
on serving what it knew. An id that memory does not know is looked up in Redis once before it is refused.

Nothing is taken out of memory because Redis has lost it: until attribution has said that the directory in Redis is
complete (redis_keys.COMPLETE), what is read there is only added.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.directory_lines import Link, is_active, link_line, link_of, partner_line, standing_of
from tracker.look_up import LookUp
from tracker.packed import Packed
from tracker.snapshot import Known, Snapshot
from tracker.standing import Standing

# How many entries one step of reading everything brings, about a millisecond's work, and how many changes are read at
# once; between two batches others get their turn.
SCAN_ENTRIES = 200
CHANGE_ENTRIES = 200
# Reading everything again pauses so many times as long as it works, for then nobody waits for it.
PAUSES_PER_WORK = 4
# How long an XREAD waits for the next change.
FOLLOW_MS = 1000
# A call that takes longer is given up with its connection.
CALL_SECONDS = 10.0
RETRY_SECONDS = 0.5
# A visitor waits for look-ups, so they are short, of a link and its partner together.
LOOK_UP_SECONDS = 0.15
# How long the start waits for Redis's directory where there is no snapshot. Then visitors are served by look-ups.
WAIT_SECONDS = 2.0
# How often it is asked whether the snapshot is due.
SNAPSHOT_SECONDS = 10.0

# KEYS: a hash. ARGV: cursor, how many entries. Answers the next cursor, and fields and values as one string, which is
# several times faster to read than a list. JSON has no NUL in it.
_SCAN = """
local answer = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
return {answer[1], table.concat(answer[2], '\\0')}
"""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Links:
    """The directory's links and partners, as this process knows them.

    `redis` had better neither retry nor have a socket timeout: the limits are here, and a lost connection is noticed.
    """

    def __init__(
        self,
        redis: Redis,
        snapshot: Snapshot | None = None,
        look_up_seconds: float = LOOK_UP_SECONDS,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._now_s = now_s
        self._scan = redis.register_script(_SCAN)
        self._snapshot = snapshot
        self._links = Packed()
        self._partners = Packed()
        self._link_look_up = LookUp(redis, redis_keys.LINKS, self._keep_link, look_up_seconds, monotonic_s)
        self._partner_look_up = LookUp(redis, redis_keys.PARTNERS, self._keep_partner, look_up_seconds, monotonic_s)
        self._watching: list[Callable[[str | None], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._position: str | None = None
        """The newest entry of the stream of changes that memory has; None when everything is to be read."""
        self._right_at_s = 0.0
        self.was_complete = False
        """Whether the directory in Redis was found complete at least once (redis_keys.COMPLETE), by this process or by
        one that wrote the snapshot."""
        self.reads = 0
        """How often everything was read from Redis."""
        self.loaded = asyncio.Event()
        """Set once memory has a directory, be it the snapshot's: links can be followed."""

    @property
    def link_count(self) -> int:
        return len(self._links)

    @property
    def partner_count(self) -> int:
        return len(self._partners)

    @property
    def age_seconds(self) -> float:
        """How long ago memory was last known to be what Redis has; since 1970 when it never was."""
        return max(0.0, self._now_s() - self._right_at_s)

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Have `changed` called whenever an entry changes, with its short code or Partner ID; with None when any may
        have."""
        self._watching.append(changed)

    def _tell(self, name: str | None) -> None:
        for changed in self._watching:
            changed(name)

    async def start(self, wait_seconds: float = WAIT_SECONDS) -> None:
        """Have a directory, if there is one, and keep it fresh from now on.

        The snapshot is read before this returns. Without one, Redis is waited for up to `wait_seconds`; then reading
        goes on behind.
        """
        known = await asyncio.to_thread(self._snapshot.read) if self._snapshot else None
        if known is not None:
            self._links, self._partners = known.links, known.partners
            self._position, self._right_at_s = known.position, known.right_at_s
            self.was_complete = known.was_complete
            log.info("the directory is the snapshot's, %.0f s old: %s", self.age_seconds, self._counted())
            self.loaded.set()
        self._tasks.append(asyncio.create_task(self._follow(), name="follow the directory"))
        if self._snapshot is not None:
            self._tasks.append(asyncio.create_task(self._keep_snapshot(self._snapshot), name="keep the snapshot"))
        with suppress(TimeoutError):
            await asyncio.wait_for(self.loaded.wait(), wait_seconds)

    async def close(self) -> None:
        """Stop following, and leave what memory has to the next start."""
        # Again and again: in Python 3.11 a cancellation may get lost in redis-py (`asyncio.wait_for` swallows it).
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=0.05)
        if self._snapshot is not None:
            await self._write_snapshot(self._snapshot, is_last=True)

    def find_link(self, code: str) -> Link | None:
        """The link of a short code, from memory."""
        line = self._links.get(code.encode())
        return link_of(line) if line is not None else None

    def standing(self, partner_id: str) -> Standing | None:
        """A partner's standing, from memory. It has neither rates nor the hash of an e-mail."""
        line = self._partners.get(partner_id.encode())
        return standing_of(partner_id, line) if line is not None else None

    def is_active(self, partner_id: str, moment: int) -> bool:
        """Whether a partner is in memory, has joined by a moment, and never was suspended. False decides nothing."""
        line = self._partners.get(partner_id.encode())
        return line is not None and is_active(line, moment)

    async def look_up_link(self, code: str) -> Link | None:
        """The link of a code, asked of Redis where memory does not know it. Never raises."""
        return self.find_link(code) or await self._link_look_up.find(code)

    async def look_up_partner(self, partner_id: str, waited_s: float = 0.0) -> Standing | None:
        """A partner's standing, asked of Redis where memory does not know it. Never raises.

        `waited_s` is how long the visitor has waited for another look-up before.
        """
        return self.standing(partner_id) or await self._partner_look_up.find(partner_id, waited_s)

    def _counted(self) -> str:
        return f"{self.link_count:,} links, {self.partner_count:,} partners"

    async def _follow(self) -> None:
        """Apply changes as they come; read everything whenever some may have been missed."""
        while True:
            try:
                if not await self._is_in_stream(self._position):
                    await self._read_all()
                self.loaded.set()
                while self._position is not None:
                    await self._apply_changes(self._position)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("cannot follow the directory: %s; trying again", error or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _is_in_stream(self, position: str | None) -> bool:
        """Whether a change that memory has is still in the stream: then all that came after it is there too."""
        if position is None:
            return False
        return bool(await _in_time(self._redis.xrange(redis_keys.CHANGES, position, position, count=1)))

    async def _read_all(self) -> None:
        """Read both hashes. What memory knew stays in use meanwhile, and for good where Redis may have lost it."""
        newest: Any = await _in_time(self._redis.xrevrange(redis_keys.CHANGES, count=1))
        is_complete = await self._is_complete()
        links, partners = (Packed(), Packed()) if is_complete else (self._links, self._partners)
        async for code, value in self._entries(redis_keys.LINKS):
            if (line := link_line(code, value)) is not None:
                links.put(code.encode(), line)
        async for partner_id, value in self._entries(redis_keys.PARTNERS):
            if (line := partner_line(partner_id, value)) is not None:
                partners.put(partner_id.encode(), line)
        if is_complete and not await self._is_complete():
            raise RedisError("the directory was lost while it was read")
        for mine, fresh in ((self._links, links), (self._partners, partners)) if is_complete else ():
            for start, piece in fresh.pieces():
                mine.take(start, piece)
                await asyncio.sleep(0)
        self.was_complete |= is_complete
        self._position = newest[0][0].decode() if newest else "0-0"
        self._right_at_s = self._now_s()
        self.reads += 1
        self._tell(None)
        log.info("directory read%s: %s", "" if is_complete else ", which may not be complete", self._counted())

    async def _is_complete(self) -> bool:
        return bool(await _in_time(self._redis.exists(redis_keys.COMPLETE)))

    async def _entries(self, hash_key: str) -> AsyncIterator[tuple[str, bytes]]:
        """All fields and values of a hash; one may come twice. While they are used, others get their turn."""
        cursor: bytes | int = 0
        while True:
            cursor, joined = await _in_time(self._scan(keys=[hash_key], args=[cursor, SCAN_ENTRIES]))
            began_s = time.perf_counter()
            texts = joined.split(b"\0") if joined else []
            for field, value in zip(texts[::2], texts[1::2], strict=True):
                yield field.decode("utf-8", "replace"), value
            if int(cursor) == 0:
                return
            worked_s = time.perf_counter() - began_s
            await asyncio.sleep(PAUSES_PER_WORK * worked_s if self.loaded.is_set() else 0)

    async def _apply_changes(self, position: str) -> None:
        """Wait for changes after `position` and apply them; forget the position when some were missed."""
        changes = self._redis.xread({redis_keys.CHANGES: position}, count=CHANGE_ENTRIES, block=FOLLOW_MS)
        streams = await _in_time(changes)
        entries = _entries_of(streams) if streams else []
        changed = {(fields[b"kind"].decode(), fields[b"key"].decode()) for _, fields in entries if b"key" in fields}
        if ("all", "") in changed or (len(entries) == CHANGE_ENTRIES and not await self._is_in_stream(position)):
            self._position = None
            return
        links = [key for kind, key in changed if kind == "link"]
        partners = [key for kind, key in changed if kind == "partner"]
        await self._refresh(redis_keys.LINKS, links, self._keep_link, self._links)
        await self._refresh(redis_keys.PARTNERS, partners, self._keep_partner, self._partners)
        self._position = entries[-1][0].decode() if entries else position
        self._right_at_s = self._now_s()

    async def _refresh(
        self, hash_key: str, keys: list[str], keep: Callable[[str, bytes], object], packed: Packed
    ) -> None:
        if keys:
            values = await _in_time(cast("Awaitable[list[bytes | None]]", self._redis.hmget(hash_key, keys)))
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    keep(key, value)
                else:
                    packed.drop(key.encode())
                    self._tell(key)

    def _keep_link(self, code: str, value: bytes) -> Link | None:
        line = link_line(code, value)
        self._keep(self._links, code, line)
        return link_of(line) if line is not None else None

    def _keep_partner(self, partner_id: str, value: bytes) -> Standing | None:
        line = partner_line(partner_id, value)
        self._keep(self._partners, partner_id, line)
        return standing_of(partner_id, line) if line is not None else None

    def _keep(self, packed: Packed, name: str, line: bytes | None) -> None:
        if line is None:
            packed.drop(name.encode())
        else:
            packed.put(name.encode(), line)
        self._tell(name)

    async def _keep_snapshot(self, snapshot: Snapshot) -> None:
        """Write the snapshot once everything was read, and whenever it is due from then on (snapshot.py decides)."""
        await self.loaded.wait()
        while True:
            await self._write_snapshot(snapshot)
            await asyncio.sleep(SNAPSHOT_SECONDS)

    async def _write_snapshot(self, snapshot: Snapshot, is_last: bool = False) -> None:
        if self._position is None:
            return
        known = Known(self._links, self._partners, self._position, self._right_at_s, self.was_complete)
        try:
            if await asyncio.to_thread(snapshot.write, known, is_last):
                log.info("the directory's snapshot is written: %s", self._counted())
        except OSError as error:
            log.warning("the directory's snapshot could not be written: %s", error)


async def _in_time(answer: Awaitable[T]) -> T:
    async with asyncio.timeout(CALL_SECONDS):
        return await answer


def _entries_of(streams: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries in XREAD's answer on one stream, which is a list in RESP2 and a map in RESP3."""
    batch: Any = next(iter(streams.values())) if isinstance(streams, dict) else streams[0][1]
    if batch and isinstance(batch[0], list) and batch[0] and isinstance(batch[0][0], tuple):
        batch = batch[0]
    return list(batch)
