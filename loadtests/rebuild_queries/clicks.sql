-- Clicks of a year, a third as many visitors; half of the clicks are on the links of one partner in sixteen.
-- Grain: one row per click. Parameters: first and count, of the clicks to make; clicks, of all; partners, start_ms, load_id.
insert into clicks (
    click_id, clicked_at, visitor_id, partner_id, product, campaign, verdict, source, country, device, browser, os,
    user_agent, referrer, landing_query, ip_prefix, load_id
)
select
    generateUUIDv4(),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(30 * 86400000 + sipHash64(number, 1) % 31104000000), 'UTC'),
    reinterpretAsUUID(sipHash128(toUInt64(sipHash64(number, 2) % intDiv({clicks:UInt64}, 3)))),
    concat('W-', leftPad(toString(toUInt64(pow((sipHash64(number, 3) % 1000000) / 1000000, 4) * {partners:UInt64})), 7, '0')),
    if(number % 4 = 0, 'partner_program', 'livechat'),
    if(number % 3 = 0, concat('pp_campaign_', toString(number % 50)), ''),
    if(number % 10 = 0, 'bot', 'human'),
    'redirect',
    ['US', 'DE', 'PL', 'BR', 'IN'][number % 5 + 1],
    if(number % 3 = 0, 'mobile', 'desktop'),
    'Chrome',
    'Windows',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
    concat('https://example.com/', toString(number % 1000)),
    'utm_source=PP',
    '203.0.113.0',
    {load_id:UInt64}
from numbers({first:UInt64}, {count:UInt64})
