-- Count the clicks that a load has stored by day, in one block: all of them, or none when the process dies.
-- Parameters: load_id, the load's number; first_ms and last_ms, between which their times lie (both inclusive).
insert into click_days
select * except (clicked_at)
from clicks_by_day
where newest_load = {load_id:UInt64}
    and clicked_at >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')
    and clicked_at <= fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')
settings max_insert_threads = 1, min_insert_block_size_rows = 100000000, min_insert_block_size_bytes = 0
