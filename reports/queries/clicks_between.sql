-- Purpose: the clicks of people on a partner's links in a part of a day, one by one.
-- Grain: one row per product and campaign of the links, and per tags of the visits.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive).
select
    toString(product) as campaign_product,
    campaign,
    utm_campaign,
    utm_medium,
    utm_content,
    utm_term,
    count() as clicks
from clicks_by_day
where partner_id = {partner_id:String}
    and clicked_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
    and clicked_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
group by all
