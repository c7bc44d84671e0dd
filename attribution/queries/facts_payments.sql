-- Payments of a license.
-- Grain: one row per payment, by time.
-- Parameters: through_load, license_id.
select
    payment_id,
    license_id,
    toUnixTimestamp64Milli(paid_at) as paid_at,
    amount_cents,
    currency,
    discount_cents
from payments
where license_id = {license_id:String} and load_id <= {through_load:UInt64}
order by paid_at, payment_id
