-- Append a batch of clicks to the journals of their shards, count them, and keep their visitors' touches, as one step;
-- or refuse all of them, where more would wait than may (journal_bound.py).
--
-- KEYS[1] counts the clicks of all shards; ARGV[1] is how many clicks these are, ARGV[2] how many may wait.
-- For each shard in turn: KEYS its journal, its counts, then touches, one key per visitor. ARGV[3] is the window in ms;
-- then for each shard: how many touches, the clicks' rows, how many clicks, then each visitor's new touch lines.
--
-- A touch line is `<ms, 13 digits> <click id, 36> <partner> <product> <campaign>`; a visitor's lines are kept newest
-- first, at most eight, joined by line feeds (docs/architecture.md, Touches). The same click is kept once.

local MOST_LINES = 8
local MS_DIGITS, ID_FROM, ID_TO = 13, 15, 50

local function newer(one, other)
  return string.sub(one, 1, ID_TO) > string.sub(other, 1, ID_TO)
end

local function merged(stored, added)
  local lines, ids = {}, {}
  for line in string.gmatch(stored .. '\n' .. added, '[^\n]+') do
    local id = string.sub(line, ID_FROM, ID_TO)
    if not ids[id] then
      ids[id] = true
      lines[#lines + 1] = line
    end
  end
  table.sort(lines, newer)
  return table.concat(lines, '\n', 1, math.min(#lines, MOST_LINES))
end

local function keep(key, lines, window_ms)
  -- A key that holds something else is no touch: it is replaced, for it must not hold up the journal.
  local stored = redis.pcall('GET', key)
  if type(stored) == 'string' then
    lines = merged(stored, lines)
  end
  if lines ~= stored then
    local newest_ms = tonumber(string.sub(lines, 1, MS_DIGITS))
    redis.call('SET', key, lines, 'PXAT', string.format('%.0f', newest_ms + window_ms))
  end
end

local known = redis.call('HMGET', KEYS[1], 'accepted', 'loaded', 'full')
local waiting = (tonumber(known[1]) or 0) - (tonumber(known[2]) or 0)
if known[3] or waiting + tonumber(ARGV[1]) > tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'full', 1)
  return redis.error_reply('FULL ' .. waiting .. ' clicks wait')
end
redis.call('HINCRBY', KEYS[1], 'accepted', ARGV[1])

local window_ms = tonumber(ARGV[3])
local key, value, shards = 2, 4, 0
while key <= #KEYS do
  local touches = tonumber(ARGV[value])
  redis.call('XADD', KEYS[key], '*', 'clicks', ARGV[value + 1], 'n', ARGV[value + 2])
  redis.call('HINCRBY', KEYS[key + 1], 'accepted', ARGV[value + 2])
  for i = 1, touches do
    keep(KEYS[key + 1 + i], ARGV[value + 2 + i], window_ms)
  end
  key, value, shards = key + 2 + touches, value + 3 + touches, shards + 1
end
return shards
