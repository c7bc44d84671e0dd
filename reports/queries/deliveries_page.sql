-- Purpose: a page of deliveries, as they are in ClickHouse.
-- Grain: one row per delivery, in no order: the newest ones of those that were ordered before a place.
-- Parameters: kind (of deliveries' entries), status and channel (empty for all), before_ms and before_id (the place:
--   when the last delivery of the page before was ordered, and its id), most (rows to read).
with
    page as (
        select delivery_id
        from deliveries final
        where (ordered_at, delivery_id) < (fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_id:String})
            and ({status:String} = '' or status = {status:String})
            and ({channel:String} = '' or channel = {channel:String})
        order by ordered_at desc, delivery_id desc
        limit {most:UInt32}
    )
select value
from directory_entries final
where kind = {kind:String} and key in (select delivery_id from page)
