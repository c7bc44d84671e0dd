"""Whether Redis takes clicks, as a process knows: from its own writes, and from looks in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.journal_bound import JournalBound, is_full_refusal
from tracker.metrics import Metrics
from tracker.redis_pipe import RedisPipe, packed

# How often Redis is probed while it is away, and how long a probe may take. A Redis that is too slow for visitors but
# not for a probe is there for deliveries.
PROBE_SECONDS = 0.25
PROBE_LIMIT_SECONDS = 1.0
# How often it is looked at otherwise.
LOOK_SECONDS = 1.0

REFUSALS = (RedisError, OSError, TimeoutError)
"""What a call to Redis that takes no clicks ends with."""

_COUNTS = redis_keys.JOURNAL.encode()
# It answers how many clicks were accepted and loaded and whether the journal is full; and that Redis takes writes.
_PROBE = [
    packed([b"HINCRBY", _COUNTS, b"accepted", b"0"]),
    packed([b"HINCRBY", _COUNTS, b"loaded", b"0"]),
    packed([b"HEXISTS", _COUNTS, b"full"]),
]
_OPEN = packed([b"HDEL", _COUNTS, b"full"])
log = logging.getLogger(__name__)


class RedisWatch:
    """What writes and looks have found. Clicks that it does not take go to the disk."""

    def __init__(self, redis_url: str, bound: JournalBound, metrics: Metrics, soon_seconds: float) -> None:
        """`soon_seconds`: how fast a Redis that was away must answer, to be there for visitors."""
        # Of its own: probes that are not answered in time must not break a write off.
        self._pipe = RedisPipe(redis_url)
        self._bound = bound
        self._metrics = metrics
        self._soon_seconds = soon_seconds
        self.is_away = False
        """Whether the last write to Redis failed or was refused; then clicks go to the spool until a probe succeeds in
        a time that visitors can wait for."""
        metrics.gauge("lasttouch_redis_away", "Whether clicks go to the disk at once.", lambda: float(self.is_away))
        self.takes_writes = True
        """Whether Redis takes writes, however slowly, as far as is known: then the spool can be delivered."""
        self.is_full = False
        """Whether Redis refuses because as many clicks wait as may, as far as is known here."""
        self.waiting_clicks = 0
        """How many clicks of all workers waited in Redis when it was last looked at."""
        metrics.gauge(
            "lasttouch_journal_waiting_clicks",
            "Clicks of all workers that wait in Redis to be loaded.",
            lambda: self.waiting_clicks,
        )
        metrics.gauge("lasttouch_journal_limit_clicks", "How many clicks may wait in Redis.", lambda: bound.clicks)
        metrics.gauge(
            "lasttouch_journal_full", "Whether clicks go to the disk because so many wait.", lambda: self.is_full
        )

    def close(self) -> None:
        self._pipe.close()

    def went_away(self) -> None:
        """Let clicks go to the disk until a look finds Redis again."""
        self.is_away, self.takes_writes = True, False

    def take_refusal(self, pipe: RedisPipe, clicks: int, error: Exception) -> None:
        """Count and tell why Redis did not take clicks."""
        if is_full_refusal(error):
            self._metrics.journal_failures.add("journal full", amount=clicks)
            self._divert(str(error))
            return
        self._metrics.journal_failures.add(type(error).__name__, amount=clicks)
        log.warning("Redis did not take %d clicks: %s", clicks, error or type(error).__name__)
        pipe.close()  # it may be another Redis that answers to the address now

    def _divert(self, waiting: str) -> None:
        """Let clicks go to the disk, for the journal is full."""
        if not self.is_full:
            log.warning("the journal is full (%s): clicks go to the disk until ClickHouse has caught up", waiting)
        self.is_full = self.is_away = True

    async def look_again_and_again(self) -> None:
        """Look until it is cancelled."""
        while True:
            try:
                await self._look()
            except Exception:
                # Whatever it was, the next look may fare better, and without looks Redis would be away for ever.
                log.exception("Redis could not be looked at")
            await asyncio.sleep(PROBE_SECONDS if self.is_away else LOOK_SECONDS)

    async def _look(self) -> None:
        """Learn whether Redis takes clicks (again), and how many wait in it."""
        began_s = time.perf_counter()
        found = await self._probe(_PROBE)
        took_s = time.perf_counter() - began_s
        self.takes_writes = found is not None
        if found is None:
            return  # for visitors, what their writes have found stands
        accepted, loaded, is_full = found
        self.waiting_clicks = max(0, accepted - loaded)
        if is_full and (self.waiting_clicks > self._bound.opens_at_clicks or await self._probe([_OPEN]) is None):
            self._divert(f"{self.waiting_clicks} clicks wait")
            self.takes_writes = False
            return
        self.is_full = False
        if self.is_away and took_s > self._soon_seconds:
            return
        if self.is_away:
            log.info("Redis takes clicks again; %d wait in it", self.waiting_clicks)
        self.is_away = False

    async def _probe(self, commands: Sequence[bytes]) -> list[int] | None:
        """The answers to commands that write; None where Redis takes no writes: it may answer a PING and still be out
        of memory, read-only or loading."""
        try:
            async with asyncio.timeout(PROBE_LIMIT_SECONDS):
                answers = await self._pipe.call(commands)
        except REFUSALS:
            return None
        numbers = [answer for answer in answers if isinstance(answer, int)]
        if len(numbers) < len(answers):
            self._pipe.close()
            return None
        return numbers
