-- The newest touches of a share of the visitors, as Redis should have them (docs/architecture.md, Touches).
-- Grain: one row per visitor. Parameters: through_load; since_ms, the begin of what is compared, exclusive; share and
-- shares: visitors whose hash leaves this rest; most, how many touches a visitor keeps.
with
    lines as (
        select
            visitor_id,
            concat(
                leftPad(toString(toUnixTimestamp64Milli(clicked_at)), 13, '0'), ' ',
                toString(click_id), ' ',
                partner_id, ' ',
                product, ' ',
                replaceAll(campaign, '\n', ' ')
            ) as line
        from clicks
        where load_id <= {through_load:UInt64}
            and clicked_at > fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
            and verdict = 'human'
            and visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
            and cityHash64(visitor_id) % {shares:UInt32} = {share:UInt32}
    )
select
    visitor_id,
    arraySlice(arrayReverseSort(groupArray(line)), 1, {most:UInt8}) as lines
from lines
group by visitor_id
