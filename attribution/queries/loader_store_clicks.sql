-- Store the staged clicks whose id is not there yet; of equal ids in the load the first wins.
-- Clicks with an id that is there have its time, so only rows of the load's span of time are looked at.
-- One thread reads the staged rows, hence in the order in which they were put there.
-- Grain: one row per click id. Parameters: load_id, the load's number.
insert into clicks
with
    (select min(clicked_at) from incoming_clicks) as first_at,
    (select max(clicked_at) from incoming_clicks) as last_at,
    known as (
        select click_id
        from clicks
        where clicked_at >= first_at
            and clicked_at <= last_at
            and click_id in (select click_id from incoming_clicks)
    )
select * except (stream_number, position) replace ({load_id:UInt64} as load_id)
from incoming_clicks
where click_id not in (select click_id from known)
limit 1 by click_id
settings max_threads = 1
