-- Purpose: how many deliveries of a channel there are in each status.
-- Grain: one row per status.
-- Parameters: channel.
select status, count() as deliveries
from deliveries final
where channel = {channel:String}
group by status
