-- Touches of a share of the visitors, each as its line (docs/architecture.md, Touches).
-- Grain: one row per human click. Parameters: since_ms, the begin, exclusive; share and shares: visitors whose hash leaves
-- this rest.
select
    visitor_id,
    concat(
        leftPad(toString(toUnixTimestamp64Milli(clicked_at)), 13, '0'), ' ',
        toString(click_id), ' ',
        partner_id, ' ',
        product, ' ',
        replaceAll(campaign, '\n', ' ')
    ) as line,
    load_id
from clicks
where clicked_at > fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    and verdict = 'human'
    and visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
    and cityHash64(visitor_id) % {shares:UInt32} = {share:UInt32}
