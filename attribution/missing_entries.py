"""Adds to the directory in Redis what it lacks, while trackers go on working: what Redis has is newer and stays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis

from attribution.fence import Scripts, unfenced
from attribution.removals import Entry, Removals
from tracker import redis_keys
from tracker.delivery import INTO_LANE, Delivery

STEP_ROWS = 500  # in one call of a script
MAX_ATTEMPTS = 20  # an entry that others change under us this often is left to them
CHANGES_KEPT = 100_000  # entries in CHANGES, as the tracker keeps them


class MissingEntries:
    """What the directory is given, some rows in a call, so that Redis is never held up for long."""

    def __init__(self, client: redis.Redis, scripts: Scripts = unfenced) -> None:
        """`client` must give bytes. `scripts` may be fenced: what was read long ago must not be put back (fence.py)."""
        self._redis = client
        self._removals = Removals(client, scripts)
        self._set_missing = scripts(client, _SET_MISSING)
        self._replace = scripts(client, _REPLACE)
        self._raise = scripts(client, _RAISE)
        self._raise_in_hash = scripts(client, _RAISE_IN_HASH)
        self._add_money = scripts(client, _ADD_MONEY)
        self._add_deliveries = scripts(client, _ADD_DELIVERIES)

    def add(self, hash_key: str, entries: Sequence[tuple[str, str]]) -> list[str]:
        """Set the fields that a hash does not have. Returns those."""
        added: list[str] = []
        for step in _steps(entries):
            flags = self._set_missing(keys=[hash_key], args=[text for entry in step for text in entry])
            added += [name for (name, _), flag in zip(step, flags, strict=True) if flag]
        return added

    def add_kept(self, kind: str, entries: Sequence[Entry]) -> list[str]:
        """The same for entries of a kind of redis_keys.KEPT, unless they were removed since they were written."""
        hash_key = redis_keys.KEPT[kind]
        return [name for step in _steps(entries) for name in self._removals.add_unless_removed(hash_key, kind, step)]

    def merge_changes(self, hash_key: str, changes: Mapping[str, list[Any]], fresh: Mapping[str, Any]) -> int:
        """Add suspensions and reinstatements to the entries of partners; `fresh` is an entry where there is none.

        The entries are compared and swapped, because trackers change them too.
        """
        added = 0
        for step in _steps(list(changes)):
            waiting: Sequence[str] = step
            for _ in range(MAX_ATTEMPTS):
                stored: Any = self._redis.hmget(hash_key, waiting)
                wanted = {
                    name: (old, new)
                    for name, old in zip(waiting, stored, strict=True)
                    if (new := _merged(old, changes[name], fresh[name])) is not None
                }
                if not wanted:
                    break
                swaps = [[name, False if old is None else old.decode(), new] for name, (old, new) in wanted.items()]
                flags = self.replace(hash_key, swaps)
                done = [name for name, flag in zip(wanted, flags, strict=True) if flag]
                added += len(done)
                self.tell("partner", done)
                waiting = [name for name in wanted if name not in set(done)]
                if not waiting:
                    break
        return added

    def tell(self, kind: str, keys: Iterable[str]) -> None:
        """Tell every tracker that entries are there or have changed."""
        for step in _steps(list(keys)):
            with self._redis.pipeline(transaction=False) as pipe:
                for key in step:
                    pipe.xadd(redis_keys.CHANGES, {"kind": kind, "key": key}, maxlen=CHANGES_KEPT, approximate=True)
                pipe.execute()

    def replace(self, hash_key: str, swaps: Sequence[Sequence[Any]]) -> list[int]:
        """Set fields of a hash, each [field, value that it must have or False, new value]. Answers 1 per field that was
        set, else 0: others have changed it."""
        flags: Any = self._replace(keys=[hash_key], args=[json.dumps(swaps, ensure_ascii=False)])
        return list(flags)

    def raise_counter(self, key: str, least: int) -> None:
        """Make a counter at least so much."""
        self._raise(keys=[key], args=[least])

    def raise_counter_in(self, hash_key: str, name: str, least: int) -> None:
        """Make a counter of a hash at least so much."""
        self._raise_in_hash(keys=[hash_key], args=[name, least])

    def add_money(self, payments: Sequence[Mapping[str, Any]], has_seen: bool) -> int:
        """Add payments and refunds, as _ADD_MONEY takes them. How many payments' sums have changed by it.

        `has_seen`: whether Redis still knows which refunds it had seen, before any was added.
        """
        keys = [redis_keys.PAYMENTS, redis_keys.seen("payment"), redis_keys.seen("refund")]
        return sum(int(self._add_money(keys=keys, args=[json.dumps(step), int(has_seen)])) for step in _steps(payments))

    def add_deliveries(self, deliveries: Sequence[tuple[Delivery, str]]) -> int:
        """Add deliveries, each with its text, oldest first; those that wait go into their lanes, due now."""
        keys = [redis_keys.DELIVERIES, redis_keys.DELIVERIES_BY_TIME, redis_keys.DELIVERIES_DONE,
                redis_keys.DELIVERIES_WAITING]  # fmt: skip
        added = 0
        for step in _steps(deliveries):
            documents = [
                [one.id, text, one.status, one.ordered_at, one.channel, one.lane,
                 redis_keys.delivery_lane(one.channel, one.lane), redis_keys.delivery_lanes(one.channel)]
                for one, text in step
            ]  # fmt: skip
            added += int(self._add_deliveries(keys=keys, args=[json.dumps(documents, ensure_ascii=False)]))
        return added


def _merged(stored: bytes | None, changes: list[Any], fresh: Any) -> str | None:
    """An entry with all of `changes` in it; None when it has them already. Entries are lists, or have one."""
    entry = fresh if stored is None else json.loads(stored)
    known = entry if isinstance(entry, list) else entry["changes"]
    missing = [change for change in changes if change not in known]
    if stored is not None and not missing:
        return None
    merged = sorted([*known, *missing])
    return json.dumps(merged if isinstance(entry, list) else {**entry, "changes": merged}, ensure_ascii=False)


def _steps(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + STEP_ROWS] for start in range(0, len(rows), STEP_ROWS))


# KEYS: a hash. ARGV: field, value, field, value, … Answers 1 per field that was missing, else 0.
_SET_MISSING = """
local answers = {}
for i = 1, #ARGV, 2 do
  answers[#answers + 1] = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
return answers
"""

# KEYS: a hash. ARGV: JSON list of [field, value that it has or false, new value]. Answers 1 per field that was set.
_REPLACE = """
local answers = {}
for i, swap in ipairs(cjson.decode(ARGV[1])) do
  answers[i] = 0
  if redis.call('HGET', KEYS[1], swap[1]) == swap[2] then
    redis.call('HSET', KEYS[1], swap[1], swap[3])
    answers[i] = 1
  end
end
return answers
"""

# KEYS: a counter. ARGV: what it must be at least.
_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
end
"""

# KEYS: a hash of counters. ARGV: the field, and what it must be at least.
_RAISE_IN_HASH = """
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
"""

# KEYS: payments, seen payments, seen refunds. ARGV: JSON list of
#   {"id", "paid": cents or false, "answer": text or false, "refunds": [[refund id, kind, cents, answer], …]}
# and 1 unless the seen refunds were lost.
# Answers how many payments' entries were missing or changed.
_ADD_MONEY = """
local changed, has_seen = 0, ARGV[2] == '1'
for _, money in ipairs(cjson.decode(ARGV[1])) do
  local stored = redis.call('HGET', KEYS[1], money.id)
  local paid, sums = '', {refund = 0, chargeback = 0, chargeback_won = 0}
  if stored then
    local refund, chargeback, won
    paid, refund, chargeback, won = string.match(stored, '^([^,]*),([^,]*),([^,]*),([^,]*)$')
    sums = {refund = tonumber(refund), chargeback = tonumber(chargeback), chargeback_won = tonumber(won)}
  end
  if money.paid and paid == '' then
    paid = string.format('%.0f', money.paid)
  end
  if money.answer then
    redis.call('HSETNX', KEYS[2], money.id, money.answer)
  end
  local all = {refund = 0, chargeback = 0, chargeback_won = 0}
  for _, back in ipairs(money.refunds) do
    local is_new = redis.call('HSETNX', KEYS[3], back[1], back[4]) == 1
    all[back[2]] = all[back[2]] + back[3]
    if is_new and has_seen then
      sums[back[2]] = sums[back[2]] + back[3]
    end
  end
  if not stored or not has_seen then
    for kind, cents in pairs(all) do
      sums[kind] = math.max(sums[kind], cents)
    end
  end
  local text = string.format('%s,%.0f,%.0f,%.0f', paid, sums.refund, sums.chargeback, sums.chargeback_won)
  if text ~= stored then
    redis.call('HSET', KEYS[1], money.id, text)
    changed = changed + 1
  end
end
return changed
"""

# KEYS: deliveries, deliveries by time, done ones, how many wait. ARGV: JSON list of
#   [id, text, status, ordered at, channel, lane, its queue, the channel's lanes], oldest first; all share their slot.
# Answers how many were missing.
_ADD_DELIVERIES = f"""{INTO_LANE}
local added = 0
for _, one in ipairs(cjson.decode(ARGV[1])) do
  if redis.call('HSETNX', KEYS[1], one[1], one[2]) == 1 then
    redis.call('ZADD', KEYS[2], one[4], one[1])
    if one[3] == 'waiting' then
      into_lane(one[7], one[1])
      redis.call('HINCRBY', KEYS[4], one[5], 1)
      redis.call('ZADD', one[8], 'NX', 0, one[6])
    else
      redis.call('LPUSH', KEYS[3], one[1])
    end
    added = added + 1
  end
end
return added
"""
