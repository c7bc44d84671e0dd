-- Purpose: clicks on a partner's links with why each counts or not (R1), newest first.
-- Grain: one row per click.
-- Parameters: partner_id, joined_ms (when the partner joined), before_ms and before_id (the page starts after
--   this click), most (rows to read).
with
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') as before_at,
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
    ) as active
select
    toString(click_id) as id,
    toUnixTimestamp64Milli(clicked_at) as clicked_ms,
    toString(visitor_id) as visitor,
    product,
    campaign,
    country,
    device,
    browser,
    referrer,
    source,
    multiIf(
        verdict != 'human', verdict,
        arrayExists(span -> span.1 <= clicked_at and clicked_at < span.2, active), 'counted',
        clicked_at < fromUnixTimestamp64Milli({joined_ms:Int64}, 'UTC'), 'not-joined',
        'suspended'
    ) as counts_as
from clicks
where partner_id = {partner_id:String}
    and (clicked_at < before_at or (clicked_at = before_at and toString(click_id) < {before_id:String}))
order by clicked_at desc, id desc
limit {most:UInt32}
