-- Suspensions of some partners, most of them lifted, and rates of their own, half of them with an end.
-- Grain: one row per event: 15 per 100 partners. Parameters: partners, start_ms.
insert into partner_events (
    event_id, partner_id, occurred_at, kind, first_tier_percent_hundredths, second_tier_percent_hundredths, until, load_id
)
select
    concat('e', toString(number)),
    concat('W-', leftPad(toString(intDiv(number, 3) * 20 % {partners:UInt64} + number % 3 % 2), 7, '0')),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(40 + sipHash64(number) % 300) * 86400000, 'UTC'),
    ['suspended', 'rate_changed', 'reinstated'][number % 3 + 1],
    if(number % 3 = 1, 2500, null),
    if(number % 3 = 1, 750, null),
    if(
        number % 6 = 1,
        fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(341 + sipHash64(number) % 20) * 86400000, 'UTC'),
        null
    ),
    1
from numbers(intDiv({partners:UInt64} * 15, 100))
