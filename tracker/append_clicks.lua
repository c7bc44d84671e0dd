-- Append a batch of clicks to a journal, count them, and keep their visitors' touches, as one step; or refuse all of them,
-- where more would wait than may (journal_bound.py).
--
-- KEYS: what counts the clicks of all journals, then the journal and its counts. ARGV: how many clicks; how many may
-- wait; the window in ms; the clicks' rows; their touches, one a line; when the touches of new visitors are forgotten,
-- in ms since 1970.
--
-- A line of touches is a mark, the visitor's shard, the visitor's id and the touch line: `*7<id, 36><touch line>`. The
-- mark is `*` for a visitor whose id was made for this very click, so that nothing is stored under it, else `-`. Only a
-- write that was held up on its way may come after the visitor's next click; then it is merged like any other.
-- A touch line is `<ms, 13 digits> <click id, 36> <partner> <product> <campaign>`; a visitor's lines are kept newest
-- first, at most eight, joined by line feeds (docs/architecture.md, Touches). The same click is kept once.
--
-- The touches' keys are made here, for declaring them would cost as much as setting them. In a Redis Cluster one call
-- takes the clicks of one shard, whose keys are all in one slot.

local MOST_LINES = 8
local MS_DIGITS, ID_FROM, ID_TO = 13, 15, 50
local LINE = '(.)(.)(' .. string.rep('.', 36) .. ')([^\n]+)\n'

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

local FIRST_LINES = '^' .. string.rep('[^\n]*\n', MOST_LINES - 2) .. '[^\n]*'

local function keep(key, lines, window_ms)
  -- A key that holds something else is no touch: it is replaced, for it must not hold up the journal.
  local stored = redis.pcall('GET', key)
  if type(stored) == 'string' and stored ~= '' then
    if newer(lines, stored) and not string.find(stored, string.sub(lines, ID_FROM, ID_TO), 1, true) then
      -- As nearly always: a new click, and the newest.
      lines = lines .. '\n' .. (string.match(stored, FIRST_LINES) or stored)
    else
      lines = merged(stored, lines)
    end
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
redis.call('XADD', KEYS[2], '*', 'clicks', ARGV[4], 'n', ARGV[1])
redis.call('HINCRBY', KEYS[3], 'accepted', ARGV[1])

local window_ms = tonumber(ARGV[3])
for mark, shard, visitor, touch in string.gmatch(ARGV[5], LINE) do
  local key = '{c' .. shard .. '}:touch:' .. visitor
  if mark ~= '*' or not redis.call('SET', key, touch, 'PXAT', ARGV[6], 'NX') then
    keep(key, touch, window_ms)
  end
end
return 1
