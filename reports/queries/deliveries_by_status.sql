-- Purpose: the oldest deliveries of a channel that ended in a status, and how many there are in all.
-- Grain: one row per delivery, oldest first.
-- Parameters: kind (of deliveries' entries), status, channel, most (rows to read).
select
    key as id,
    value,
    count() over () as total
from directory_entries final
where kind = {kind:String}
    and JSONExtractString(value, 'status') = {status:String}
    and JSONExtractString(value, 'channel') = {channel:String}
order by id
limit {most:UInt32}
