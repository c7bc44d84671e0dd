-- Purpose: the newest payments of a license that published rounds have seen.
-- Grain: one row per payment, newest first.
-- Parameters: license_id, most (rows to read).
select payment_id
from payments
where license_id = {license_id:String} and load_id <= (select max(through_load) from rounds)
order by paid_at desc, payment_id desc
limit {most:UInt32}
