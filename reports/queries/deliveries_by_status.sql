-- Purpose: the oldest deliveries of a channel that ended in a status, and how many there are in all.
-- Grain: one row per delivery, oldest first.
-- Parameters: kind (of deliveries' entries), status, channel, most (rows to read).
with
    ended as materialized (
        select delivery_id, count() over () as total
        from deliveries final
        where status = {status:String} and channel = {channel:String}
        order by delivery_id
        limit {most:UInt32}
    )
select
    key as id,
    value,
    (select any(total) from ended) as total
from directory_entries final
where kind = {kind:String} and key in (select delivery_id from ended)
order by id
