-- The newest load whose clicks are counted by day; 0 where there are none.
-- Grain: one row.
select max(newest_load) as load_id
from click_days
