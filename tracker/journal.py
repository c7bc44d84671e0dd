"""The click journal: durable before the answer, many clicks per write, and the disk when Redis is away or full.

Group commit: one write to Redis is under way at a time; clicks that arrive meanwhile gather into the next one. A
click is acknowledged when its write is. What Redis does not take in time goes to the spool (spool.py), in one write
with all that has gathered by then, and while Redis is known to be away everything goes there at once. So it does
while as many clicks wait for ClickHouse as may (journal_bound.py). In the background Redis is probed (redis_watch.py),
and the spool is delivered (spool_delivery.py).

A visitor waits for both stores together no longer than CLICK_SECONDS. Who is sent on before the disk has answered hears
that nothing is promised, but the click is not given up: its write goes on, or it joins the next. A click is lost only
where the disk refuses as well, or has been so slow that QUEUED_CLICKS wait for it.

A write that timed out may have reached Redis all the same. It is spooled nevertheless: a repeated click is harmless,
for the loader drops repeated ids and touches keep one line per click.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from redis.exceptions import NoScriptError, RedisError

from tracker.click_commands import ClickCommands
from tracker.click_line import ClickLine, click_line
from tracker.errors import Unavailable
from tracker.events import Clicked
from tracker.journal_bound import (
    DEFAULT_BOUND,
    JOURNAL_IS_FULL,
    NO_ROOM_FOR_CLICKS,
    RETRY_AFTER_SECONDS,
    JournalBound,
)
from tracker.metrics import Metrics
from tracker.redis_pipe import RedisPipe, Reply
from tracker.redis_watch import REFUSALS, RedisWatch
from tracker.spool import Spool, SpoolFull
from tracker.spool_delivery import SpoolDelivery

# How long a visitor waits for their click to be kept. Redis gets two thirds of it and the disk the rest; the disk gets
# all of it while Redis is known to be away. With PATIENCE_SECONDS a visitor is sent on within 225 ms.
CLICK_SECONDS = 0.2
# How often those who wait for the disk are looked after.
PATIENCE_SECONDS = 0.025
# Imports and deliveries have nobody waiting at a browser.
BULK_SECONDS = 3.0
BATCH_CLICKS = 500
# More clicks than this waiting means that neither store keeps up; the next ones are refused. As many again may wait
# whose visitors were sent on.
QUEUED_CLICKS = 10_000

log = logging.getLogger(__name__)

Waiting = tuple[ClickLine, Callable[[bool], None]]


class Journal:
    """Appends clicks durably. `start` it before the first click, `close` it after the last."""

    def __init__(
        self,
        redis_url: str,
        spool: Spool,
        window_ms: int,
        now_ms: Callable[[], int],
        metrics: Metrics,
        click_seconds: float = CLICK_SECONDS,
        bound: JournalBound = DEFAULT_BOUND,
    ) -> None:
        self._pipe = RedisPipe(redis_url)
        # Imports and deliveries must not make visitors wait behind them.
        self._bulk_pipe = RedisPipe(redis_url)
        self.watch = RedisWatch(redis_url, bound, metrics, click_seconds / 3)
        self._commands = ClickCommands(bound.clicks, window_ms, now_ms)
        self._spool = spool
        self._metrics = metrics
        self._click_seconds = click_seconds
        self._queue: list[Waiting] = []
        # When the queue's first click came: those after it are taken to have waited as long.
        self._queue_since_s = 0.0
        # Clicks of visitors who were sent on; they wait for the next write.
        self._unawaited: list[ClickLine] = []
        # Clicks that were lost since the log said so, and when it did.
        self._lost_unsaid, self._lost_said_s = 0, 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._rescue: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[None]] = []
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._delivery = SpoolDelivery(spool, self._append_in_bulk, metrics)
        metrics.gauge(
            "lasttouch_spool_bytes", "Size of the spool folder, which all workers of a machine share.", spool.size_bytes
        )
        metrics.gauge(
            "lasttouch_spool_torn_bytes", "What of it could not be read and is kept as `….torn`.", spool.torn_bytes
        )
        metrics.gauge("lasttouch_spool_limit_bytes", "What the spool may take.", lambda: spool.limit_bytes)

    async def start(self) -> None:
        """Begin to probe Redis and to deliver the spool, what dead processes left in it included."""
        self._background = [
            asyncio.create_task(self.watch.look_again_and_again(), name="probe Redis"),
            asyncio.create_task(
                self._delivery.deliver_again_and_again(lambda: self.watch.takes_writes), name="deliver the spool"
            ),
        ]

    async def close(self) -> None:
        """Write what has gathered and stop. What is in the spool stays there for the next process."""
        await self._idle.wait()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._pipe.close()
        self._bulk_pipe.close()
        self.watch.close()
        await asyncio.to_thread(self._delivery.close)
        await asyncio.to_thread(self._disk.shutdown)
        await asyncio.to_thread(self._spool.rotate)

    def put(self, line: ClickLine, answer: Callable[[bool], None]) -> None:
        """Append a click. `answer` is called with True once it is durable, in Redis or on disk; with False when neither
        takes it."""
        if len(self._queue) >= QUEUED_CLICKS:
            self._lose(1, "queue full", "more wait than may")
            answer(False)
            return
        if not self._queue:
            self._queue_since_s = time.monotonic()
        self._queue.append((line, answer))
        if self._idle.is_set():
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._write_next)

    def append(self, click: Clicked, came_s: float | None = None) -> Awaitable[bool]:
        """Append a click and wait: whether it is durable.

        `came_s` is when its visitor came, as time.monotonic() says, where they have waited for something else before.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def answer(is_durable: bool) -> None:
            if not future.done():
                future.set_result(is_durable)

        self.put(click_line(click), answer)
        if came_s is not None:
            self._queue_since_s = min(self._queue_since_s, came_s)
        return future

    async def append_many(self, clicks: Sequence[Clicked]) -> None:
        """Append clicks in Redis, all of them when this returns. Raises Unavailable when some were not taken."""
        for at in range(0, len(clicks), BATCH_CLICKS):
            lines = [click_line(click) for click in clicks[at : at + BATCH_CLICKS]]
            is_taken = not self.watch.is_full and await self._append_in_bulk(lines)
            if self.watch.is_full and not is_taken:
                raise Unavailable(JOURNAL_IS_FULL, RETRY_AFTER_SECONDS)
            if not is_taken:
                raise Unavailable("the journal does not take clicks at the moment")

    def require_room(self) -> None:
        """Raise Unavailable where neither journal nor disk has room for clicks: a conversion that is accepted while
        clicks are lost would go to the wrong partner for good (R2)."""
        if self.has_no_room:
            raise Unavailable(NO_ROOM_FOR_CLICKS, RETRY_AFTER_SECONDS)

    @property
    def has_no_room(self) -> bool:
        """Whether the journal is full and the disk takes no clicks either."""
        return self.watch.is_full and self._spool.is_full

    def _write_next(self) -> None:
        """Begin to write what has gathered. One batch is under way at a time; everybody gets an answer, once."""
        batch, self._queue = self._queue[:BATCH_CLICKS], self._queue[BATCH_CLICKS:]
        if self._unawaited:
            batch += self._take_unawaited(BATCH_CLICKS - len(batch))
        if not batch:
            self._idle.set()
        elif self.watch.is_away or not self._pipe.is_open:
            self._write_otherwise(batch, self._queue_since_s, None)
        else:
            self._write_to_redis(batch, self._queue_since_s)

    def _write_to_redis(self, batch: list[Waiting], since_s: float) -> None:
        """The usual way: one call on the open connection, without a task."""
        began_s = time.perf_counter()

        def replied(answers: list[Reply] | RedisError) -> None:
            limit.cancel()
            refusal = answers if isinstance(answers, RedisError) else answers[0]
            if isinstance(refusal, RedisError):
                self._write_otherwise(batch, since_s, refusal)
                return
            self._count_write(len(batch), time.perf_counter() - began_s)
            _answer(batch, True)
            self._write_next()

        # Whoever does not answer in time loses the connection, and `replied` hears of that.
        limit = asyncio.get_running_loop().call_later(self._patience_with_redis_s(since_s), self._pipe.close)
        try:
            command = self._commands.by_sha([line for line, _ in batch])
            self._pipe.send([command], replied)
        except Exception as error:
            limit.cancel()
            self._write_otherwise(batch, since_s, error)

    def _patience_with_redis_s(self, since_s: float) -> float:
        """How long a write to Redis may take, for clicks of which the first came at `since_s`."""
        third_s = self._click_seconds / 3
        return max(third_s, since_s + 2 * third_s - time.monotonic())

    def _write_otherwise(self, batch: list[Waiting], since_s: float, error: Exception | None) -> None:
        """What the usual way could not write is written in a task of its own."""
        writing = self._write_in_steps(batch, since_s, error)
        self._rescue = asyncio.get_running_loop().create_task(writing, name="write clicks")

    async def _write_in_steps(self, batch: list[Waiting], since_s: float, error: Exception | None) -> None:
        try:
            if isinstance(error, REFUSALS) and not isinstance(error, NoScriptError):
                self.watch.take_refusal(self._pipe, len(batch), error)
                self.watch.went_away()
            await self._write_batch(batch, since_s)
        except Exception:
            log.exception("a batch of %d clicks failed", len(batch))
            self._lose(len(batch), "error", "a fault")
        _answer(batch, False)
        self._write_next()

    async def _write_batch(self, batch: list[Waiting], since_s: float) -> None:
        """Write a batch and answer, which empties it. Who came meanwhile may join it on the way to the disk."""
        if not self.watch.is_away:
            lines = [line for line, _ in batch]
            if await self._to_redis(self._pipe, lines, self._patience_with_redis_s(since_s)):
                _answer(batch, True)
                return
            self.watch.went_away()
        # Those who came meanwhile need not wait for Redis's silence as well.
        late, self._queue = self._queue, []
        batch += late + self._take_unawaited(QUEUED_CLICKS)
        await self._to_spool(batch, since_s)

    async def _to_spool(self, batch: list[Waiting], since_s: float) -> None:
        """Keep a batch on disk, however long that takes; meanwhile send on all who have waited long enough."""
        lines = [line for line, _ in batch]
        writing = asyncio.get_running_loop().run_in_executor(self._disk, self._spool.append, lines)
        while not (await asyncio.wait([writing], timeout=PATIENCE_SECONDS))[0]:
            now_s = time.monotonic()
            if now_s >= since_s + self._click_seconds:
                _answer(batch, False)
            if self._queue and now_s >= self._queue_since_s + self._click_seconds:
                self._send_on()
        try:
            writing.result()
        except OSError as error:
            self._lose(len(lines), "spool full" if isinstance(error, SpoolFull) else "spool", str(error))
            _answer(batch, False)
            return
        self._metrics.spooled_clicks.add(amount=len(lines))
        _answer(batch, True)

    def _send_on(self) -> None:
        """Answer all who wait in the queue; their clicks wait on, as many as there is room for."""
        waiting, self._queue = self._queue, []
        room = QUEUED_CLICKS - len(self._unawaited)
        self._unawaited += [line for line, _ in waiting[:room]]
        if lost := len(waiting[room:]):
            self._lose(lost, "disk too slow", "the disk does not keep up")
        _answer(waiting, False)

    def _lose(self, clicks: int, reason: str, why: str) -> None:
        """Count clicks that neither store takes. The log says so at most once a second."""
        self._metrics.lost_clicks.add(reason, amount=clicks)
        self._lost_unsaid += clicks
        if time.monotonic() >= self._lost_said_s + 1.0:
            log.error("%d clicks are lost, for Redis is away or full and the disk failed: %s", self._lost_unsaid, why)
            self._lost_unsaid, self._lost_said_s = 0, time.monotonic()

    def _take_unawaited(self, room: int) -> list[Waiting]:
        """Clicks of visitors who were sent on, to be written with others."""
        taken, self._unawaited = self._unawaited[:room], self._unawaited[room:]
        return [(line, _nobody) for line in taken]

    async def _append_in_bulk(self, lines: Sequence[ClickLine]) -> bool:
        """Append clicks for which nobody waits at a browser. Whether Redis has acknowledged them."""
        return await self._to_redis(self._bulk_pipe, lines, BULK_SECONDS)

    async def _to_redis(self, pipe: RedisPipe, lines: Sequence[ClickLine], limit_seconds: float) -> bool:
        """Append clicks in one call. Whether Redis has acknowledged them."""
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(limit_seconds):
                answer = (await pipe.call([self._commands.by_sha(lines)]))[0]
                if isinstance(answer, NoScriptError):
                    answer = (await pipe.call([self._commands.by_text(lines)]))[0]
            if isinstance(answer, RedisError):
                raise answer
        except REFUSALS as error:
            self.watch.take_refusal(pipe, len(lines), error)
            return False
        self._count_write(len(lines), time.perf_counter() - began_s)
        return True

    def _count_write(self, clicks: int, seconds: float) -> None:
        self._metrics.journal_write_seconds.observe(seconds)
        self._metrics.journal_batch_clicks.observe(clicks)


def _answer(batch: list[Waiting], is_durable: bool) -> None:
    """Answer everybody in a batch and empty it. One who cannot take the answer is nobody else's harm."""
    while batch:
        _, answer = batch.pop()
        try:
            answer(is_durable)
        except Exception:
            log.exception("an answer could not be given")


def _nobody(is_durable: bool) -> None:
    """Takes the answer of a click whose visitor was sent on."""
