-- Partners who joined in the first 30 days; every second one was recruited, mostly by the first ones.
-- Grain: one row per partner. Parameters: partners, start_ms.
insert into partners (partner_id, joined_at, name, email_hash, recruiter_hint, links, answered, load_id)
select
    concat('W-', leftPad(toString(number), 7, '0')),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(number % 30) * 86400000, 'UTC'),
    concat('Partner ', toString(number)),
    hex(sipHash64(number)),
    if(number % 2 = 0, '', concat('W-', leftPad(toString(intDiv(number, 10) * 2), 7, '0'))),
    '{}',
    '{}',
    1
from numbers({partners:UInt64})
