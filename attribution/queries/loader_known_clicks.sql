-- How many of the staged clicks have an id that is stored already. A click with such an id has its time too, so that only
-- rows with these times are looked at.
-- Grain: one row.
select count() as known
from clicks
where clicked_at in (select fromUnixTimestamp64Milli(clicked_at, 'UTC') from incoming_clicks)
    and click_id in (select click_id from incoming_clicks)
