-- wrk's script for mixed traffic: cookies present and absent, one bot in ten, deep links, parameters passed through,
-- 500 browsers. The requests are prepared once and asked for in turn. With the argument `plain` they are one and the same
-- plain request: what mixed traffic is compared with must cost the load as much, for it shares the machine.
local requests, at = {}, 0
local bots = { 'Googlebot/2.1 (+http://www.google.com/bot.html)', 'facebookexternalhit/1.1', 'curl/8.5.0' }

local function agent(i)
  return string.format(
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d.0 Safari/537.36',
    100 + i % 25, 4000 + i % 500)
end

local function mixed(i)
  local headers = { ['User-Agent'] = agent(i), ['Accept-Language'] = 'en-US,en;q=0.9', ['Accept'] = 'text/html' }
  if i % 10 == 0 then headers['User-Agent'] = bots[1 + i % 3] end
  if i % 2 == 0 then
    headers['Cookie'] = string.format('lt_vid=%08x-7d0a-4b8e-9a55-%012x', math.random(0, 0x7fffffff), i)
  end
  if i % 3 == 0 then headers['Referer'] = 'https://blog.example/best-live-chat-software?page=' .. i end
  local path = '/a/BENCH'
  if i % 4 == 1 then path = path .. '?gclid=Cj0KCQ' .. i .. '&utm_medium=cpc&sub=banner%20' .. (i % 50) end
  if i % 8 == 2 then path = path .. '?to=/pricing/%3Fplan=team' end
  return wrk.format('GET', path, headers)
end

local function plain()
  return wrk.format('GET', '/a/BENCH', { ['User-Agent'] = agent(0) })
end

function init(args)
  math.randomseed(7)
  for i = 1, 2000 do
    requests[i] = args[1] == 'plain' and plain() or mixed(i)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
