"""The deliveries that Redis has: what waits, lane by lane, and what became of the others.

A lane that was taken is not given to anybody else for a while, so that its deliveries are made in their order, several
processes may take part, and what a process that died had taken is made again: at least once, always under the same id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.delivery import CHANNELS, DONE_KEPT, INTO_LANE, KIND, WAITING, Delivery, read_delivery

TAKEN_SECONDS = 60.0  # longer than any channel takes for a try
MAX_PAGE = 500
LANES_LOOKED_AT = 1_000


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
