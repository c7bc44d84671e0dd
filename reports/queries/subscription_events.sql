-- Purpose: what a partner did with the subscription of a solution license of theirs.
-- Grain: one row per change, newest first; also where two processes that started at once have both moved the changes of
--   before (schema 010).
-- Parameters: partner_id, license_id, before_number and before_id (the page starts after this change), most (rows to
--   read).
with own as (
    select license_id
    from solution_licenses
    where license_id = {license_id:String} and partner_id = {partner_id:String}
)
select
    event_id,
    number,
    toUnixTimestamp64Milli(occurred_at) as occurred_ms,
    kind,
    plan,
    billing_cycle,
    seats,
    toUnixTimestamp64Milli(closes_at) as closes_ms
from subscription_events
where license_id in own and (number, event_id) < ({before_number:Int64}, {before_id:String})
order by number desc, event_id desc
limit 1 by event_id
limit {most:UInt32}
