-- How many of the staged clicks this load has stored, by the run of them that came from one stream.
-- One thread reads the staged rows, hence in the order in which they were put there.
-- Grain: one row per run; runs count from 1.
-- Parameters: load_id, the load's number; ends, how many clicks came up to the end of each run.
with
    staged as (
        select click_id, rowNumberInAllBlocks() as position
        from incoming_clicks
    ),
    firsts as (
        select click_id, min(position) as position
        from staged
        group by click_id
    )
select
    arrayFirstIndex(run_end -> position < run_end, {ends:Array(UInt64)}) as run,
    count() as stored
from firsts
where click_id in (
    select click_id
    from clicks
    where load_id = {load_id:UInt64}
        and clicked_at in (select fromUnixTimestamp64Milli(clicked_at, 'UTC') from incoming_clicks)
)
group by run
settings max_threads = 1
