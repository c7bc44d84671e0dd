-- Count every click by day again, but for those of a load that is not finished: it is counted when it is. Loads wait
-- meanwhile.
insert into rebuilt_click_days
select * except (clicked_at)
from clicks_by_day
where newest_load <= (select max(load_id) from loads where is_finished = 1)
