-- Purpose: how many deliveries of a channel there are in each status.
-- Grain: one row per status.
-- Parameters: kind (of deliveries' entries), channel.
select
    JSONExtractString(value, 'status') as status,
    count() as deliveries
from directory_entries final
where kind = {kind:String} and JSONExtractString(value, 'channel') = {channel:String}
group by status
