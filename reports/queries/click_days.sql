-- Purpose: the clicks of people on a partner's links.
-- Grain: one row per day and product. Parameters: partner_id.
select toString(day) as day_text, product, sum(clicks) as clicks
from click_days
where partner_id = {partner_id:String}
group by day, product
