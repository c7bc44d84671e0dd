-- What the staged clicks look like: how many they are, with how many ids, and the span of their times in milliseconds.
-- `without_id` have the nil UUID, which is what a missing id is read as.
-- Grain: one row.
select
    count() as clicks,
    uniqExact(click_id) as ids,
    countIf(click_id = toUUID('00000000-0000-0000-0000-000000000000')) as without_id,
    min(clicked_at) as first_at,
    max(clicked_at) as last_at
from incoming_clicks
