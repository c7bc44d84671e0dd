-- Which of these visitors have a human click.
-- Grain: one row per visitor who has.
-- Parameters: visitor_ids.
select distinct visitor_id
from clicks
where visitor_id in {visitor_ids:Array(UUID)} and verdict = 'human'
