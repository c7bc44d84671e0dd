-- wrk's script for a large directory: how links are asked for (`uniform`, `zipf`, else only the first one), and how many
-- there are.
local links, spread, headers = 1, '', {}

function init(args)
  math.randomseed(os.time())
  spread, links = args[1], tonumber(args[2])
  headers['User-Agent'] =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36'
end

function request()
  local number = 0
  if spread == 'uniform' then
    number = math.random(0, links - 1)
  elseif spread == 'zipf' then
    -- A rank is drawn with a probability of about one by it; a step that shares no factor with their number spreads ranks.
    number = (math.floor(links ^ math.random()) * 611953) % links
  end
  return wrk.format('GET', string.format('/b%07d', number), headers)
end
