-- Append a batch of clicks to one shard's journal, count it, and keep its visitors' touches, as one step.
--
-- KEYS[1] the shard's journal, KEYS[2] its counts, KEYS[3…] touches, one per visitor
-- ARGV[1] the clicks' rows, ARGV[2] how many, ARGV[3] the window in ms, ARGV[4…] a visitor's new touch lines
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

redis.call('XADD', KEYS[1], '*', 'clicks', ARGV[1], 'n', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'accepted', ARGV[2])

for i = 3, #KEYS do
  -- A key that holds something else is no touch: it is replaced, for it must not hold up the journal.
  local stored = redis.pcall('GET', KEYS[i])
  local lines = ARGV[i + 1]
  if type(stored) == 'string' then
    lines = merged(stored, lines)
  end
  if lines ~= stored then
    local newest_ms = tonumber(string.sub(lines, 1, MS_DIGITS))
    redis.call('SET', KEYS[i], lines, 'PXAT', string.format('%.0f', newest_ms + tonumber(ARGV[3])))
  end
end

return #KEYS - 2
