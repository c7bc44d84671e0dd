"""Makes deliveries: takes those that are due, hands each to its channel, and tries again, later and later, for days.

A lane that was taken is not given to anybody else for a while, so that its deliveries are made in their order, several
processes may take part, and what a process that died had taken is made again: at least once, always under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.delivery import (
    CHANNELS,
    DELIVERED,
    DONE_KEPT,
    FAILED,
    INTO_LANE,
    KIND,
    NOT_SENT,
    WAITING,
    Attempt,
    Delivery,
    read_delivery,
)
from tracker.errors import LasttouchError, Unavailable

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
MOST_AT_ONCE = 8  # of a channel
TAKEN_SECONDS = 60.0  # longer than any channel takes for a try
STOP_SECONDS = 3.0
TRY_SECONDS = 45.0  # what is not done by then has failed
MINUTE, HOUR = 60, 3600
PAUSES = (5, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, *[24 * HOUR] * 5)
"""Seconds after each try that failed: six days and fourteen tries in all."""
ATTEMPTS_KEPT = 10
MAX_PAGE = 500
LANES_LOOKED_AT = 1_000


class NotTaken(LasttouchError):
    """A try failed. The message is shown and logged: it holds no address and no name."""


class Refused(NotTaken):
    """It will never be taken: it is not tried again."""


class NoReceiver(NotTaken):
    """There is nobody to send it to: it is kept, and sent when somebody says so."""


class Stopped(NotTaken):
    """Nothing of the channel will be taken until an administrator says so; this one waits as well."""


class Channel(Protocol):
    """Where deliveries go."""

    async def is_open(self) -> bool:
        """Whether anything can be delivered now; what is ordered meanwhile waits."""

    async def deliver(self, delivery: Delivery) -> str:
        """Deliver, and say how it was taken. Raises NotTaken, Refused, NoReceiver, Stopped, Unavailable, RedisError."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a channel: how many, and since when the oldest does (ms; None where none does)."""

    deliveries: int
    oldest_at: int | None


class DeliveryLog:
    """All deliveries that Redis has: those that wait, and the newest that are done: taken, given up or not sent."""

    def __init__(self, redis: Redis) -> None:
        """`redis` must give bytes."""
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._settle = redis.register_script(_SETTLE)
        self._resend = redis.register_script(_RESEND)

    async def take(self, channel: str, most: int) -> list[Delivery]:
        """The first delivery of lanes that are due. They are the caller's for TAKEN_SECONDS."""
        keys = [redis_keys.delivery_lanes(channel), redis_keys.DELIVERIES]
        args: list[str | int] = [most, int(TAKEN_SECONDS * 1000), redis_keys.delivery_lane(channel, "")]
        return [read_delivery(text) for text in await self._take(keys=keys, args=args)]

    async def settle(self, delivery: Delivery, pause_seconds: float) -> None:
        """Write down what became of a try. One that waits is due again after a pause."""
        keys = [
            redis_keys.delivery_lanes(delivery.channel), redis_keys.delivery_lane(delivery.channel, delivery.lane),
            redis_keys.DELIVERIES, redis_keys.DELIVERIES_BY_TIME, redis_keys.DELIVERIES_DONE,
            redis_keys.DELIVERIES_WAITING, redis_keys.FACT_JOURNAL,
        ]  # fmt: skip
        pause_ms = int(pause_seconds * 1000)
        args: list[str | int] = [
            delivery.id, delivery.lane, delivery.text(), delivery.status, pause_ms, DONE_KEPT, delivery.channel, KIND,
        ]  # fmt: skip
        await self._settle(keys=keys, args=args)

    async def resend(self, found: Delivery) -> Delivery:
        """Make a delivery due now, whatever became of it, and whether or not Redis still has it."""
        again = replace(found, status=WAITING, next_at=None, settled_at=None, attempts=0)
        keys = [
            redis_keys.delivery_lanes(found.channel), redis_keys.delivery_lane(found.channel, found.lane),
            redis_keys.DELIVERIES, redis_keys.DELIVERIES_DONE, redis_keys.PROVISIONING_GONE,
            redis_keys.DELIVERIES_WAITING, redis_keys.DELIVERIES_BY_TIME, redis_keys.FACT_JOURNAL,
        ]  # fmt: skip
        args: list[str | int] = [again.id, again.lane, again.text(), again.channel, again.ordered_at, KIND]
        await self._resend(keys=keys, args=args)
        return again

    async def find(self, delivery_id: str) -> Delivery | None:
        """A delivery by its id."""
        text = await cast("Awaitable[bytes | None]", self._redis.hget(redis_keys.DELIVERIES, delivery_id))
        return read_delivery(text) if text else None

    async def found(self, ids: Sequence[str]) -> dict[str, Delivery]:
        """Those of `ids` that Redis has, by their ids."""
        if not ids:
            return {}
        texts = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(redis_keys.DELIVERIES, list(ids)))
        return {one.id: one for one in (read_delivery(text) for text in texts if text)}

    async def newest(self, before: tuple[int, str], wanted: Mapping[str, str], most: int) -> list[Delivery]:
        """Deliveries ordered before a moment (ms) and id, newest first, of the `status` and `channel` in `wanted`."""
        found: list[Delivery] = []
        score: str = f"{before[0]}"
        start = 0
        while len(found) < most:
            ids: list[Any] = await self._redis.zrevrangebyscore(
                redis_keys.DELIVERIES_BY_TIME, score, "-inf", start=start, num=MAX_PAGE
            )
            if not ids:
                break
            start += len(ids)
            texts = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(redis_keys.DELIVERIES, ids))
            for one in (read_delivery(text) for text in texts if text):
                if is_one_of(wanted, one) and (one.ordered_at, one.id) < before:
                    found.append(one)
        return found[:most]

    async def waiting(self) -> dict[str, Waiting]:
        """Channel → what waits in it. The oldest is looked for among the first lanes that are due."""
        counts = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(redis_keys.DELIVERIES_WAITING))
        return {
            channel: Waiting(int(counts.get(channel.encode(), 0)), await self._oldest(channel)) for channel in CHANNELS
        }

    async def _oldest(self, channel: str) -> int | None:
        """When the oldest of what waits in a channel was ordered."""
        lanes: list[Any] = await self._redis.zrange(redis_keys.delivery_lanes(channel), 0, LANES_LOOKED_AT - 1)
        async with self._redis.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.lindex(redis_keys.delivery_lane(channel, lane.decode()), 0)
            firsts: list[Any] = [one for one in await pipe.execute() if one]
        scores = await self._redis.zmscore(redis_keys.DELIVERIES_BY_TIME, firsts) if firsts else []
        return min((int(score) for score in scores if score is not None), default=None)


def is_one_of(wanted: Mapping[str, str], delivery: Delivery) -> bool:
    """Whether a delivery is of the `status` and `channel` in `wanted`; empty ones are any."""
    return all(not value or getattr(delivery, name) == value for name, value in wanted.items())


class Worker:
    """Makes the deliveries of some channels until it is stopped."""

    def __init__(self, redis: Redis, channels: Mapping[str, Channel], now_ms: Callable[[], int]) -> None:
        self._log = DeliveryLog(redis)
        self._channels = channels
        self._now_ms = now_ms
        self._busy: dict[str, set[asyncio.Task[None]]] = {channel: set() for channel in channels}
        self._stopping = asyncio.Event()
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Look for what is due, four times a second, and whenever a try has ended."""
        is_away = False
        while not self._stopping.is_set():
            self._awake.clear()
            try:
                for name, channel in self._channels.items():
                    await self._start(name, channel)
                if is_away:
                    log.info("deliveries go on")
                is_away = False
            except (RedisError, OSError) as error:
                if not is_away:
                    log.warning("deliveries wait for Redis: %s", error)
                is_away = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), POLL_SECONDS)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End `running`, a task of `run`, and the tries that are under way, within a few seconds."""
        self._stopping.set()
        self._awake.set()
        await asyncio.wait([running], timeout=STOP_SECONDS)
        tries = set().union(*self._busy.values())
        for task in (running, *tries):
            task.cancel()
        await asyncio.wait([running, *tries], timeout=STOP_SECONDS)

    async def _start(self, name: str, channel: Channel) -> None:
        busy = self._busy[name]
        room = MOST_AT_ONCE - len(busy)
        if room <= 0 or not await channel.is_open():
            return
        for delivery in await self._log.take(name, room):
            task = asyncio.create_task(self._make(channel, delivery))
            busy.add(task)
            task.add_done_callback(partial(self._ended, busy))

    def _ended(self, busy: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        busy.discard(task)
        self._awake.set()

    async def _make(self, channel: Channel, delivery: Delivery) -> None:
        """One try, and what becomes of the delivery."""
        try:
            async with asyncio.timeout(TRY_SECONDS):
                outcome, status = await channel.deliver(delivery), DELIVERED
        except Refused as error:
            outcome, status = str(error), FAILED
        except NoReceiver as error:
            outcome, status = str(error), NOT_SENT
        except (NotTaken, Unavailable) as error:
            outcome, status = str(error), WAITING
        except TimeoutError:
            outcome, status = "it took too long", WAITING
        except Exception as error:  # a lane must not stand still for a fault of ours, and its words may be personal
            outcome, status = f"it failed: {type(error).__name__}", WAITING
            log.debug("a delivery failed", exc_info=error)
        tried, pause = after_try(delivery, outcome, status, self._now_ms())
        _tell(tried, outcome, pause)
        try:
            await self._log.settle(tried, pause)
        except (RedisError, OSError) as error:
            log.warning("delivery %s: what became of it is not written down, it is made again: %s", delivery.id, error)


def after_try(delivery: Delivery, outcome: str, status: str, now_ms: int) -> tuple[Delivery, float]:
    """The delivery after a try, and the seconds until it is due again. The last pause over, it is given up."""
    attempts = delivery.attempts + 1
    pause = 0.0
    if status == WAITING:
        if attempts > len(PAUSES):
            status = FAILED
        else:
            pause = PAUSES[attempts - 1] * random.uniform(1.0, 1.1)  # not all at once
    kept = (*delivery.last_attempts, Attempt(now_ms, outcome))[-ATTEMPTS_KEPT:]
    tried = replace(
        delivery,
        status=status,
        attempts=attempts,
        last_attempts=kept,
        next_at=now_ms + int(pause * 1000) if status == WAITING else None,
        settled_at=None if status == WAITING else now_ms,
    )
    return tried, pause


def _tell(delivery: Delivery, outcome: str, pause: float) -> None:
    name = f"{delivery.channel} {delivery.id} ({delivery.type})"
    if delivery.status in (DELIVERED, NOT_SENT):
        log.info("%s: %s", name, outcome)
    elif delivery.status == WAITING:
        log.warning("%s was not taken, again in %.0f s: %s", name, pause, outcome)
    else:
        log.error("%s is given up: %s; an administrator can send it again", name, outcome)


@asynccontextmanager
async def making_deliveries(worker: Worker) -> AsyncIterator[None]:
    """Deliveries are made for the length of the context. A try that is under way at its end is made again later."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(task)


# KEYS: a channel's lanes, deliveries. ARGV: how many, for how long they are taken (ms), what a lane's key begins with.
# Answers the texts of the first delivery of lanes that are due. All keys share their slot.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local id = redis.call('LINDEX', ARGV[3] .. lane, 0)
  local text = id and redis.call('HGET', KEYS[2], id)
  if text then
    redis.call('ZADD', KEYS[1], now + ARGV[2], lane)
    found[#found + 1] = text
  elseif id then
    redis.call('LPOP', ARGV[3] .. lane)
  else
    redis.call('ZREM', KEYS[1], lane)
  end
end
return found
"""

# What became of a delivery, for ClickHouse: an entry of the fact journal, as accept.lua writes it.
_JOURNAL_ENTRY = """
local function journal(stream, kind, id, text, now)
  local line = '{"kind":' .. cjson.encode(kind) .. ',"key":' .. cjson.encode(id) .. ',"value":' .. cjson.encode(text)
    .. ',"written_at":' .. string.format('%.0f', now) .. '}'
  redis.call('XADD', stream, '*', 'facts', '', 'n', 0, 'entries', line)
end
"""

# KEYS: the channel's lanes, the lane, deliveries, deliveries by time, done ones, how many wait, the fact journal. ARGV:
# id, lane, text, status, pause in ms, how many done ones are kept, channel, kind of the journal's entry.
_SETTLE = f"""{_JOURNAL_ENTRY}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
if ARGV[4] == 'waiting' then
  redis.call('ZADD', KEYS[1], now + ARGV[5], ARGV[2])
  return
end
journal(KEYS[7], ARGV[8], ARGV[1], ARGV[3], now)
if redis.call('LREM', KEYS[2], 1, ARGV[1]) > 0 then
  redis.call('HINCRBY', KEYS[6], ARGV[7], -1)
end
if redis.call('LLEN', KEYS[2]) > 0 then
  redis.call('ZADD', KEYS[1], now, ARGV[2])
else
  redis.call('ZREM', KEYS[1], ARGV[2])
end
redis.call('LREM', KEYS[5], 0, ARGV[1])
redis.call('LPUSH', KEYS[5], ARGV[1])
while redis.call('LLEN', KEYS[5]) > tonumber(ARGV[6]) do
  local old = redis.call('RPOP', KEYS[5])
  redis.call('HDEL', KEYS[3], old)
  redis.call('ZREM', KEYS[4], old)
end
"""

# KEYS: the channel's lanes, the lane, deliveries, done ones, the mark of a receiver that is gone, how many wait,
# deliveries by time, the fact journal. ARGV: id, lane, text, channel, ordered at, kind of the journal's entry.
_RESEND = f"""{_JOURNAL_ENTRY}{INTO_LANE}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_new = redis.call('HSET', KEYS[3], ARGV[1], ARGV[3]) == 1
redis.call('ZADD', KEYS[7], ARGV[5], ARGV[1])
if redis.call('LREM', KEYS[4], 0, ARGV[1]) > 0 or is_new then
  into_lane(KEYS[2], ARGV[1])
  redis.call('HINCRBY', KEYS[6], ARGV[4], 1)
  journal(KEYS[8], ARGV[6], ARGV[1], ARGV[3], now)
end
redis.call('ZADD', KEYS[1], now, ARGV[2])
if ARGV[4] == 'provisioning' then
  redis.call('DEL', KEYS[5])
end
"""
