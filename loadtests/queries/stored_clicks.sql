-- Every stored click, with what its landing was called by.
-- Grain: one row per stored row of `clicks`; a click that was stored twice is here twice.
select
    toString(click_id) as click_id,
    extractURLParameter(concat('?', landing_query), 'sub') as mark,
    toString(visitor_id) as visitor_id,
    partner_id,
    verdict,
    toUnixTimestamp64Milli(clicked_at) as clicked_at
from clicks
