-- A click that won something.
-- Grain: one row per click.
-- Parameters: click_id, clicked_at_ms.
select
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    partner_id,
    product,
    campaign,
    source,
    country,
    device,
    referrer
from clicks
where click_id = {click_id:UUID} and clicked_at = fromUnixTimestamp64Milli({clicked_at_ms:Int64}, 'UTC')
limit 1
