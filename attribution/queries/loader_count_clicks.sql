-- How many of the staged clicks this load has stored, by the stream that they came from.
-- Grain: one row per stream number. Parameters: load_id, the load's number.
with
    (select min(clicked_at) from incoming_clicks) as first_at,
    (select max(clicked_at) from incoming_clicks) as last_at,
    firsts as (
        select
            click_id,
            min(stream_number) as stream_number
        from incoming_clicks
        group by click_id
    )
select
    stream_number,
    count() as stored
from firsts
where click_id in (
    select click_id
    from clicks
    where load_id = {load_id:UInt64}
        and clicked_at >= first_at
        and clicked_at <= last_at
)
group by stream_number
