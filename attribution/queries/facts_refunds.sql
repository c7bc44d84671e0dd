-- Refunds, chargebacks and won disputes of the payments of a license. A refund of an unknown payment waits.
-- Grain: one row per refund.
-- Parameters: through_load, license_id.
with
    paid as (
        select payment_id
        from payments
        where license_id = {license_id:String} and load_id <= {through_load:UInt64}
    )
select
    refund_id,
    payment_id,
    toUnixTimestamp64Milli(refunded_at) as refunded_at,
    amount_cents,
    kind
from refunds
where payment_id in (select payment_id from paid) and load_id <= {through_load:UInt64}
