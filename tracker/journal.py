"""The click journal: durable before the answer, many clicks per write, and the disk when Redis is away.

Group commit: one write to Redis is under way at a time; clicks that arrive meanwhile gather into the next one. A
click is acknowledged when its write is. What Redis does not take in time goes to the spool (spool.py), in one write
with all that has gathered by then, and while Redis is known to be away everything goes there at once. In the
background Redis is probed, and the spool is delivered.

A write that timed out may have reached Redis all the same. It is spooled nevertheless: a repeated click is harmless,
for the loader drops repeated ids and touches keep one line per click.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.events import Clicked, Verdict, click_row
from tracker.metrics import Metrics
from tracker.spool import Segment, Spool, SpoolFull

# A visitor waits at most for one write to Redis and one to disk, or for two to disk: under a quarter of a second while
# the disk syncs within a tenth. A slower disk gets a little longer before a click counts as not recorded.
WRITE_SECONDS = 0.15
SPOOL_SECONDS = 0.25
# Imports and deliveries have nobody waiting at a browser.
BULK_SECONDS = 10.0
BATCH_CLICKS = 500
# More clicks than this waiting means that neither store keeps up; the next ones are refused.
QUEUED_CLICKS = 10_000
PROBE_SECONDS = 0.25
DELIVER_SECONDS = 1.0
TOUCHES_PER_VISITOR = 8

_SCRIPT = (Path(__file__).parent / "append_clicks.lua").read_text(encoding="utf-8")
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_REFUSALS = (RedisError, OSError, TimeoutError)
log = logging.getLogger(__name__)

Waiting = tuple[Clicked, "asyncio.Future[bool]"]


class Journal:
    """Appends clicks durably. `start` it before the first click, `close` it after the last.

    `redis` had better neither retry nor have a socket timeout: the limits are here.
    """

    def __init__(
        self,
        redis: Redis,
        spool: Spool,
        window_ms: int,
        now_ms: Callable[[], int],
        metrics: Metrics,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._redis = redis
        self._spool = spool
        self._window_ms = window_ms
        self._now_ms = now_ms
        self._metrics = metrics
        self._write_seconds = write_seconds
        self._queue: list[Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        metrics.gauge(
            "lasttouch_spool_bytes", "Size of the spool folder, which all workers of a machine share.", spool.size_bytes
        )
        self.redis_is_away = False
        """Whether the last write to Redis failed; then clicks go to the spool until a probe succeeds."""

    async def start(self) -> None:
        """Begin to probe Redis and to deliver the spool, what dead processes left in it included."""
        self._watching = asyncio.create_task(self._watch(), name="deliver the spool")

    async def close(self) -> None:
        """Write what has gathered and stop. What is in the spool stays there for the next process."""
        if self._writing is not None:
            await self._writing
        # Again and again: in Python 3.11 a cancellation may get lost in redis-py (`asyncio.wait_for` swallows it).
        while self._watching is not None and not self._watching.done():
            self._watching.cancel()
            await asyncio.wait([self._watching], timeout=0.05)
        await asyncio.to_thread(self._disk.shutdown)
        await asyncio.to_thread(self._spool.rotate)

    def append(self, click: Clicked) -> Awaitable[bool]:
        """Append a click. The answer is True once it is durable, in Redis or on disk; False when neither takes it."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if len(self._queue) >= QUEUED_CLICKS:
            self._metrics.journal_failures.add("queue full")
            future.set_result(False)
            return future
        self._queue.append((click, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_queue(), name="write clicks")
        return future

    async def append_many(self, clicks: Sequence[Clicked]) -> None:
        """Append clicks in Redis, all of them when this returns. Raises Unavailable when some were not taken."""
        for at in range(0, len(clicks), BATCH_CLICKS):
            refused = await self._to_redis(clicks[at : at + BATCH_CLICKS], BULK_SECONDS)
            if refused:
                raise Unavailable("the journal does not take clicks at the moment")

    async def _write_queue(self) -> None:
        """Write batch after batch until nothing waits. Whatever happens, everybody gets an answer."""
        while self._queue:
            batch, self._queue = self._queue[:BATCH_CLICKS], self._queue[BATCH_CLICKS:]
            try:
                await self._write_batch(batch)
            except Exception:
                log.exception("a batch of %d clicks failed", len(batch))
                self._metrics.journal_failures.add("error", amount=len(batch))
            _answer(batch, False)
        self._writing = None

    async def _write_batch(self, batch: list[Waiting]) -> None:
        """Write a batch and answer those whose click is durable. Who came meanwhile may be added to it."""
        refused = [click for click, _ in batch]
        if not self.redis_is_away:
            refused = await self._to_redis(refused, self._write_seconds)
            self.redis_is_away = bool(refused)
        refused_ids = {id(click) for click in refused}
        _answer((item for item in batch if id(item[0]) not in refused_ids), True)
        if refused:
            # Those who came meanwhile need not wait for Redis's silence as well.
            late, self._queue = self._queue, []
            batch += late
            if await self._to_spool([*refused, *(click for click, _ in late)]):
                _answer(batch, True)

    async def _to_spool(self, clicks: Sequence[Clicked]) -> bool:
        """Keep clicks on disk. False when that failed or took too long to wait for."""
        writing = asyncio.get_running_loop().run_in_executor(self._disk, self._spool.append, clicks)
        try:
            await asyncio.wait_for(asyncio.shield(writing), SPOOL_SECONDS)
        except OSError as error:  # TimeoutError and SpoolFull included
            reason = "spool full" if isinstance(error, SpoolFull) else "spool"
            self._metrics.journal_failures.add(reason, amount=len(clicks))
            log.error("%d clicks could not be kept on disk: %r", len(clicks), error)
            # Where it was only slow, it may still succeed; its late outcome is nobody's surprise.
            writing.add_done_callback(_read_outcome)
            return False
        self._metrics.spooled_clicks.add(amount=len(clicks))
        return True

    async def _to_redis(self, clicks: Sequence[Clicked], limit_seconds: float) -> list[Clicked]:
        """Append clicks with one call per shard, all in one round trip. Returns those that were not acknowledged."""
        shards: defaultdict[int, list[Clicked]] = defaultdict(list)
        for click in clicks:
            shards[redis_keys.shard_of(click.visitor_id or click.click_id)].append(click)
        began_s = time.perf_counter()
        try:
            oldest_ms = self._now_ms() - self._window_ms
            calls = [script_arguments(shard, share, self._window_ms, oldest_ms) for shard, share in shards.items()]
            async with asyncio.timeout(limit_seconds):
                answers = await self._call(calls)
        except _REFUSALS as error:
            self._refused(error, len(clicks))
            return list(clicks)
        self._metrics.journal_write_seconds.observe(time.perf_counter() - began_s)
        self._metrics.journal_batch_clicks.observe(len(clicks))
        refused: list[Clicked] = []
        for share, answer in zip(shards.values(), answers, strict=True):
            if isinstance(answer, Exception):
                self._refused(answer, len(share))
                refused += share
        return refused

    async def _call(self, calls: Sequence[tuple[object, ...]]) -> list[Any]:
        """Run the script once per call. Errors are among the answers; the script is sent where Redis lacks it."""
        answers = await self._pipeline([("EVALSHA", _SCRIPT_SHA, *arguments) for arguments in calls])
        lacking = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if lacking:
            again = await self._pipeline([("EVAL", _SCRIPT, *calls[at]) for at in lacking])
            for at, answer in zip(lacking, again, strict=True):
                answers[at] = answer
        return answers

    async def _pipeline(self, commands: Sequence[tuple[object, ...]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=False)

    def _refused(self, error: Exception, clicks: int) -> None:
        self._metrics.journal_failures.add(type(error).__name__, amount=clicks)
        log.warning("Redis did not take %d clicks: %s", clicks, error or type(error).__name__)

    async def _watch(self) -> None:
        """Probe Redis while it is away; while it is there, deliver what waits on disk."""
        while True:
            try:
                if self.redis_is_away and await self._probe():
                    self.redis_is_away = False
                    log.info("Redis takes clicks again")
                if not self.redis_is_away:
                    await self._deliver()
            except Exception:
                # Whatever it was, the next round may fare better, and without rounds the spool would fill up.
                log.exception("the spool could not be delivered")
            await asyncio.sleep(PROBE_SECONDS if self.redis_is_away else DELIVER_SECONDS)

    async def _probe(self) -> bool:
        """Whether Redis takes writes: it may answer a PING and still be full, read-only or loading."""
        try:
            async with asyncio.timeout(self._write_seconds):
                await self._redis.hincrby(redis_keys.click_counts(0), "accepted", 0)
        except _REFUSALS:
            return False
        return True

    async def _deliver(self) -> None:
        """Bring every segment that nobody holds to Redis, until one is refused."""
        await asyncio.to_thread(self._spool.rotate)
        while (segment := await asyncio.to_thread(self._spool.claim)) is not None:
            try:
                if not await self._deliver_segment(segment):
                    return
            finally:
                segment.release()

    async def _deliver_segment(self, segment: Segment) -> bool:
        while (record := await asyncio.to_thread(segment.next_record)) is not None:
            if await self._to_redis(record.clicks, BULK_SECONDS):
                return False
            segment.mark_delivered(record)
            self._metrics.delivered_clicks.add(amount=len(record.clicks))
        await asyncio.to_thread(segment.remove)
        return True


def script_arguments(shard: int, clicks: Sequence[Clicked], window_ms: int, oldest_ms: int) -> tuple[object, ...]:
    """What append_clicks.lua takes, after the script: the number of keys, the keys, the values.

    `clicks` are all of one shard. Human clicks since `oldest_ms` become touches.
    """
    touches: defaultdict[str, list[str]] = defaultdict(list)
    for click in clicks:
        if click.verdict == Verdict.HUMAN and click.visitor_id and click.clicked_at > oldest_ms:
            touches[redis_keys.touches(click.visitor_id)].append(touch_line(click))
    rows = "".join([click_row(click) for click in clicks])
    return (
        2 + len(touches),
        redis_keys.click_journal(shard),
        redis_keys.click_counts(shard),
        *touches,
        _encoded(rows),
        len(clicks),
        window_ms,
        *(_encoded("\n".join(newest_first(lines))) for lines in touches.values()),
    )


def touch_line(click: Clicked) -> str:
    """A click as a line of its visitor's touches (docs/architecture.md)."""
    campaign = click.campaign.replace("\n", " ")
    return f"{click.clicked_at:013d} {click.click_id} {click.partner_id} {click.product} {campaign}"


def newest_first(lines: Iterable[str]) -> list[str]:
    """Touch lines in the order of R2, one per click, no more than are kept."""
    return sorted(set(lines), reverse=True)[:TOUCHES_PER_VISITOR]


def _encoded(text: str) -> bytes:
    # A lone surrogate, which JSON bodies can carry, has no bytes in UTF-8.
    return text.encode("utf-8", "replace")


def _answer(batch: Iterable[Waiting], is_durable: bool) -> None:
    for _, future in batch:
        if not future.done():
            future.set_result(is_durable)


def _read_outcome(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled() and writing.exception() is not None:
        log.error("the spool failed late: %r", writing.exception())
