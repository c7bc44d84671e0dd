-- Purpose: the clicks of people on a partner's links on some days, by where they came from.
-- Grain: one row per product and campaign of the links, and per tags of the visits where asked.
-- Parameters: partner_id, ranges (of days since 1970, each from a day to before another), by_tags (1, or 0 for empty tags).
select
    toString(product) as campaign_product,
    click_days.campaign as campaign,
    if({by_tags:UInt8} = 1, click_days.utm_campaign, '') as utm_campaign,
    if({by_tags:UInt8} = 1, click_days.utm_medium, '') as utm_medium,
    if({by_tags:UInt8} = 1, click_days.utm_content, '') as utm_content,
    if({by_tags:UInt8} = 1, click_days.utm_term, '') as utm_term,
    sum(click_days.clicks) as clicks
from click_days
where partner_id = {partner_id:String}
    and arrayExists(range -> range[1] <= toInt32(day) and toInt32(day) < range[2], {ranges:Array(Array(Int32))})
group by all
