-- Store the staged clicks whose id is not there yet; of equal ids in the load the first wins.
-- One thread reads the staged rows, hence in the order in which they were put there.
-- Grain: one row per click id. Parameters: load_id, the load's number.
insert into clicks
with known as (
    select click_id
    from clicks
    where clicked_at in (select fromUnixTimestamp64Milli(clicked_at, 'UTC') from incoming_clicks)
        and click_id in (select click_id from incoming_clicks)
)
select * replace (fromUnixTimestamp64Milli(clicked_at, 'UTC') as clicked_at, {load_id:UInt64} as load_id)
from incoming_clicks
where click_id not in (select click_id from known)
limit 1 by click_id
settings max_threads = 1
