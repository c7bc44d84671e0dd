-- A click that won something.
-- Grain: one row per click.
-- Parameters: click_id, clicked_at_ms.
select
    toString(clicks.click_id) as click_id,
    toUnixTimestamp64Milli(clicks.clicked_at) as clicked_at,
    partner_id,
    product,
    campaign,
    source,
    country,
    device,
    referrer
from clicks
where clicks.click_id = {click_id:UUID} and clicks.clicked_at = fromUnixTimestamp64Milli({clicked_at_ms:Int64}, 'UTC')
limit 1
