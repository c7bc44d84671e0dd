-- Signups of visitors of the last 11 months; some name a partner.
-- Grain: one row per license. Parameters: signups, clicks, partners, start_ms.
insert into signups (
    license_id, signed_up_at, product, visitor_id, partner_hint, client_email_hash, client_email_masked, data_center,
    plan, answered, load_id
)
select
    concat('L', hex(sipHash64(number, 9))),
    fromUnixTimestamp64Milli({start_ms:Int64} + toInt64(60 * 86400000 + sipHash64(number, 4) % 28512000000), 'UTC'),
    'livechat',
    reinterpretAsUUID(sipHash128(toUInt64(sipHash64(number, 7) % intDiv({clicks:UInt64}, 3)))),
    if(number % 20 = 0, concat('W-', leftPad(toString(number % {partners:UInt64}), 7, '0')), ''),
    hex(sipHash64(number, 8)),
    'c…t@e…m',
    'us-south1',
    'team',
    '{}',
    1
from numbers({signups:UInt64})
