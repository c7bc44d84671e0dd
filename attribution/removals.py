"""What was removed from the directory and is not in ClickHouse yet, so that a rebuild does not put it back.

A removal takes its entry away in Redis and says so in the journal, in one step. Nothing is loaded while a rebuild is
under way, so that the journal has every removal that ClickHouse lacks: those of before, and those that come meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from attribution.fence import Scripts, unfenced
from tracker import redis_keys

Entry = tuple[str, str, int]
"""A field's name, its value, and when it was written (ms, by Redis's clock)."""


class Removals:
    """Follows the journal of facts. For the length of one rebuild."""

    def __init__(self, client: redis.Redis, scripts: Scripts = unfenced) -> None:
        """`client` must give bytes."""
        self._look = client.register_script(_LOOK)
        self._add = scripts(client, _ADD)
        self._removed: dict[tuple[str, str], int] = {}
        self._after = "-"

    def add_unless_removed(self, hash_key: str, kind: str, entries: Sequence[Entry]) -> list[str]:
        """Set the fields that the hash of `kind` does not have and that were not removed since they were written.
        Returns those."""
        self._follow()
        wanted = [(name, value) for name, value, at in entries if at > self._removed.get((kind, name), -1)]
        if not wanted:
            return []
        keys = [hash_key, redis_keys.FACT_JOURNAL]
        flags = self._add(keys=keys, args=[self._after, kind, *(text for entry in wanted for text in entry)])
        return [name for (name, _), flag in zip(wanted, flags, strict=True) if flag]

    def _follow(self) -> None:
        """Learn what was removed by now."""
        is_end = 0
        while not is_end:
            is_end, newest, texts = self._look(keys=[redis_keys.FACT_JOURNAL], args=[self._after])
            self._after = newest.decode()
            for line in (line for text in texts for line in text.splitlines()):
                self._note(json.loads(line))

    def _note(self, entry: Mapping[str, Any]) -> None:
        if not entry["value"]:
            of = entry["kind"], entry["key"]
            self._removed[of] = max(self._removed.get(of, 0), entry["written_at"])


# KEYS: the journal of facts. ARGV: where to go on. At most 1000 entries at a time, so that Redis is never held up.
# Answers whether that was the end, where to go on from there, and entries of the directory with a removal among them.
_LOOK = """
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1000)
local found, newest = {}, ARGV[1]
for _, entry in ipairs(entries) do
  newest = '(' .. entry[1]
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'entries' and string.find(entry[2][i + 1], '"value":""', 1, true) then
      found[#found + 1] = entry[2][i + 1]
    end
  end
end
return {#entries < 1000 and 1 or 0, newest, found}
"""

# KEYS: a hash, the journal of facts. ARGV: from where on the journal was not looked at yet, the kind of the hash's
# entries, then field, value, field, value, … Answers 1 per field that was missing and is set, else 0.
_ADD = """
local removed = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], ARGV[1], '+')) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'entries' then
      for line in string.gmatch(entry[2][i + 1], '[^\\n]+') do
        local one = cjson.decode(line)
        if one.kind == ARGV[2] and one.value == '' then
          removed[one.key] = true
        end
      end
    end
  end
end
local answers = {}
for i = 3, #ARGV, 2 do
  answers[#answers + 1] = not removed[ARGV[i]] and redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) or 0
end
return answers
"""
