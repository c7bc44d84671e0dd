-- Which of these clicks are stored, or in quarantine.
-- Grain: one row per click that is.
-- Parameters: click_ids, visitor_ids (whose clicks they are).
select toString(click_id) as click_id
from clicks
where visitor_id in {visitor_ids:Array(UUID)} and clicks.click_id in {click_ids:Array(UUID)}
union distinct
select arrayJoin(arrayFilter(id -> position(bytes, toString(id)) > 0, {click_ids:Array(UUID)})) as click_id
from quarantine
