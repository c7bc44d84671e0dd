-- Accepts facts and changes of partners' own state: a step's directory changes and its journal rows are one. All are
-- refused where more facts would wait than may (journal_bound.py), and where Redis has lost the directory that they were
-- decided on.
--
-- KEYS: fact journal, fact counts, changes stream, the mark of a complete directory; where clients' records wait, what is
-- to be delivered, the same by time, what was delivered, and how many wait (redis_keys.py). All other keys come in the
-- steps and share their slot.
-- ARGV[1]: JSON list of steps:
--   {"expect": [[hash, field, value or false], …],   the step is taken only if all of these still hold
--    "write":  [[hash, field, value or false], …],   false removes the field
--    "rows":   [fact as a JSON line, …],
--    "entries": [[kind, field, value or ""], …],     what else ClickHouse is to keep of the directory
--    "changes": [[kind, key], …],                    told to every process
--    "client": [stream, JSON lines] or false,
--    "records": [key, …],                            what the client's lines hold, to be found while they wait
--    "deliveries": [[id, text, lane, its queue, the channel's lanes by when they are due, ordered at,
--                   channel], …]}
-- ARGV[2]: how many facts may wait. ARGV[3]: 1 where the caller has seen the directory complete, else 0.
-- ARGV[4]: how many deliveries may wait.
-- Answers a list with 1 (taken) or 0 (something changed since it was read: read again) per step.

local steps = cjson.decode(ARGV[1])
local known = redis.call('HMGET', KEYS[2], 'accepted', 'loaded')
local waiting = (tonumber(known[1]) or 0) - (tonumber(known[2]) or 0)
local facts, deliveries = 0, 0
for _, step in ipairs(steps) do
  facts = facts + math.max(1, #step.rows) -- state that is no fact is kept by ClickHouse too
  deliveries = deliveries + #step.deliveries
end
if waiting + facts > tonumber(ARGV[2]) then
  return redis.error_reply('FULL ' .. waiting .. ' facts wait')
end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then
  return redis.error_reply('LOST the directory is not complete any more')
end
if deliveries > 0 and redis.call('HLEN', KEYS[6]) - redis.call('LLEN', KEYS[8]) + deliveries > tonumber(ARGV[4]) then
  return redis.error_reply('UNDELIVERED as many deliveries wait as may')
end
local answers, rows, entries = {}, {}, {}
-- One clock for all processes: of two values of an entry, the newest wins in ClickHouse.
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function entry_line(kind, key, value)
  return '{"kind":' .. cjson.encode(kind) .. ',"key":' .. cjson.encode(key) .. ',"value":' .. cjson.encode(value)
    .. ',"written_at":' .. now_ms .. '}'
end
for i, step in ipairs(steps) do
  local holds = true
  for _, expected in ipairs(step.expect) do
    if redis.call('HGET', expected[1], expected[2]) ~= expected[3] then
      holds = false
      break
    end
  end
  answers[i] = holds and 1 or 0
  if holds then
    for _, write in ipairs(step.write) do
      if write[3] then
        redis.call('HSET', write[1], write[2], write[3])
      else
        redis.call('HDEL', write[1], write[2])
      end
    end
    if step.client then
      local entry_id = redis.call('XADD', step.client[1], '*', 'clients', step.client[2])
      for _, record in ipairs(step.records) do
        redis.call('HSET', KEYS[5], record, entry_id)
      end
    end
    for _, delivery in ipairs(step.deliveries) do
      entries[#entries + 1] = entry_line('delivery', delivery[1], delivery[2])
      redis.call('HSET', KEYS[6], delivery[1], delivery[2])
      redis.call('ZADD', KEYS[7], delivery[6], delivery[1])
      redis.call('RPUSH', delivery[4], delivery[1])
      redis.call('HINCRBY', KEYS[9], delivery[7], 1)
      redis.call('ZADD', delivery[5], 'NX', now_ms, delivery[3])
    end
    for _, change in ipairs(step.changes) do
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', '100000', '*', 'kind', change[1], 'key', change[2])
    end
    for _, row in ipairs(step.rows) do
      rows[#rows + 1] = row
    end
    for _, entry in ipairs(step.entries) do
      entries[#entries + 1] = entry_line(entry[1], entry[2], entry[3])
    end
  end
end
local fields = {'facts', table.concat(rows, '\n'), 'n', #rows}
if #entries > 0 then
  fields[5], fields[6] = 'entries', table.concat(entries, '\n')
end
if #rows + #entries > 0 then
  redis.call('XADD', KEYS[1], '*', unpack(fields))
  redis.call('HINCRBY', KEYS[2], 'accepted', #rows)
end
return answers
