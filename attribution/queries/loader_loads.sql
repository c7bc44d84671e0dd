-- The newest finished load, with the sums of every stream, and the load after it if one was begun.
-- Grain: one row per load and stream.
with (select max(load_id) from loads where is_finished) as newest_finished
select
    load_id,
    stream,
    first_id,
    last_id,
    is_finished,
    stored_sum,
    duplicates_sum,
    quarantined_sum
from loads final
where load_id >= newest_finished
order by load_id, stream
