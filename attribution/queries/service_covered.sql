-- How many accepted facts the published rounds cover: all that had been loaded through their newest load.
-- Grain: one row.
with (select max(through_load) from rounds) as through
select sum(stored_sum + duplicates_sum + quarantined_sum) as facts
from loads final
where is_finished
    and load_id = (select max(load_id) from loads where is_finished and load_id <= through)
