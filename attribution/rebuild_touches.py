"""Puts visitors' touches back into Redis from the clicks of the window, a share of the visitors at a time."""

from __future__ import annotations

from collections import defaultdict

import redis

from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys

CLICKS_PER_SHARE = 200_000  # bounds the memory of a step, here and in ClickHouse
VISITORS_PER_CALL = 250  # of the script, so that Redis is never held up for long
TOUCHES_PER_VISITOR = 8


def rebuild_touches(client: redis.Redis, warehouse: Warehouse, window_ms: int, now_ms: int) -> int:
    """Add the touches that Redis lacks; what it has stays. Returns how many visitors' touches have changed."""
    since_ms = now_ms - window_ms
    merge = client.register_script(_MERGE)
    clicks = warehouse.rows(QUERIES["rebuild_count_touches"], since_ms=since_ms)[0]["clicks"]
    shares = clicks // CLICKS_PER_SHARE + 1
    changed = 0
    for share in range(shares):
        rows = warehouse.rows(
            QUERIES["rebuild_touches"], since_ms=since_ms, share=share, shares=shares, most=TOUCHES_PER_VISITOR
        )
        # A script may only use keys of one slot, so visitors go by shard.
        shards: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        for row in rows:
            key = redis_keys.touches(row["visitor_id"])
            shards[redis_keys.shard_of(row["visitor_id"])].append((key, "\n".join(row["lines"])))
        for visitors in shards.values():
            for start in range(0, len(visitors), VISITORS_PER_CALL):
                step = visitors[start : start + VISITORS_PER_CALL]
                changed += int(merge(keys=[key for key, _ in step], args=[window_ms, *(lines for _, lines in step)]))
    return changed


# KEYS: touches, one per visitor. ARGV[1]: the window in ms; ARGV[2…]: each visitor's touch lines, newest first.
# Merges as tracker/append_clicks.lua does: newest first by time and click id, each click once, at most eight, kept
# for the window after the newest. Answers how many keys have changed.
_MERGE = """
local changed = 0
for i, key in ipairs(KEYS) do
  local stored = redis.pcall('GET', key)
  if type(stored) ~= 'string' then
    stored = ''
  end
  local lines, ids = {}, {}
  for line in string.gmatch(stored .. '\\n' .. ARGV[i + 1], '[^\\n]+') do
    local id = string.sub(line, 15, 50)
    if not ids[id] then
      ids[id] = true
      lines[#lines + 1] = line
    end
  end
  table.sort(lines, function(one, other) return string.sub(one, 1, 50) > string.sub(other, 1, 50) end)
  local merged = table.concat(lines, '\\n', 1, math.min(#lines, 8))
  if merged ~= stored then
    local ends_at = tonumber(string.sub(merged, 1, 13)) + tonumber(ARGV[1])
    redis.call('SET', key, merged, 'PXAT', string.format('%.0f', ends_at))
    changed = changed + 1
  end
end
return changed
"""
