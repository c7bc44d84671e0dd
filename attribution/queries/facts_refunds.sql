-- Refunds, chargebacks and won disputes of the payments of the scope: a round's chunk, or the one license
-- `license_id` (then round 0). A refund of an unknown payment waits.
-- Grain: one row per refund.
-- Parameters: through_load, round, chunk, license_id.
with
    scope as (
        select license_id
        from round_licenses
        where round = {round:UInt64} and chunk = {chunk:UInt32}
        union distinct
        select {license_id:String}
    ),
    paid as (
        select payment_id
        from payments
        where license_id in (select license_id from scope) and load_id <= {through_load:UInt64}
    )
select
    refund_id,
    payment_id,
    toUnixTimestamp64Milli(refunded_at) as refunded_at,
    amount_cents,
    kind
from refunds
where payment_id in (select payment_id from paid) and load_id <= {through_load:UInt64}
