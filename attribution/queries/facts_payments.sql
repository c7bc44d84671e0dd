-- Payments of the licenses of the scope: a round's chunk, or the one license `license_id` (then round 0).
-- Grain: one row per payment.
-- Parameters: through_load, round, chunk, license_id.
with
    scope as (
        select license_id
        from round_licenses
        where round = {round:UInt64} and chunk = {chunk:UInt32}
        union distinct
        select {license_id:String}
    )
select
    payment_id,
    license_id,
    toUnixTimestamp64Milli(paid_at) as paid_at,
    amount_cents,
    currency,
    discount_cents
from payments
where license_id in (select license_id from scope) and load_id <= {through_load:UInt64}
order by license_id, paid_at, payment_id
