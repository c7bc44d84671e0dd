-- Accepts facts: each one's directory changes and its journal row are one atomic step. All are refused where more facts
-- would wait than may (journal_bound.py), and where Redis has lost the directory that they were decided on.
--
-- KEYS: fact journal, fact counts, changes stream, the mark of a complete directory. All other keys come in the steps
-- and share their slot.
-- ARGV[1]: JSON list of steps:
--   {"expect": [[hash, field, value or false], …],   the step is taken only if all of these still hold
--    "write":  [[hash, field, value], …],
--    "row":    the fact as a JSON line,
--    "changes": [[kind, key], …],                    told to every process
--    "client": [stream, JSON line] or absent}
-- ARGV[2]: how many facts may wait. ARGV[3]: 1 where the caller has seen the directory complete, else 0.
-- Answers a list with 1 (taken) or 0 (something changed since it was read: read again) per step.

local steps = cjson.decode(ARGV[1])
local known = redis.call('HMGET', KEYS[2], 'accepted', 'loaded')
local waiting = (tonumber(known[1]) or 0) - (tonumber(known[2]) or 0)
if waiting + #steps > tonumber(ARGV[2]) then
  return redis.error_reply('FULL ' .. waiting .. ' facts wait')
end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then
  return redis.error_reply('LOST the directory is not complete any more')
end
local answers, rows = {}, {}
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
      redis.call('HSET', write[1], write[2], write[3])
    end
    if step.client then
      redis.call('XADD', step.client[1], '*', 'clients', step.client[2])
    end
    for _, change in ipairs(step.changes) do
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', '100000', '*', 'kind', change[1], 'key', change[2])
    end
    rows[#rows + 1] = step.row
  end
end
if #rows > 0 then
  redis.call('XADD', KEYS[1], '*', 'facts', table.concat(rows, '\n'), 'n', #rows)
  redis.call('HINCRBY', KEYS[2], 'accepted', #rows)
end
return answers
