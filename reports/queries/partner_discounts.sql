-- Purpose: what a partner saved on solution licenses while they paid for them (R6, R13).
-- Grain: one row per product.
-- Parameters: partner_id.
with
    own as (
        select license_id, product
        from solution_licenses
        where partner_id = {partner_id:String} and payment_origin = 'partner'
    ),
    transfers as (
        select license_id, min(occurred_at) as transferred_at
        from license_transfers
        where license_id in (select license_id from own)
        group by license_id
    )
select
    own.product as product,
    sum(ifNull(payments.discount_cents, 0)) as given_cents,
    groupArrayIf(payments.amount_cents, payments.discount_cents is null) as paid_without_discount
from payments
inner join own on own.license_id = payments.license_id
left join transfers on transfers.license_id = payments.license_id
where payments.license_id in (select license_id from own)
    and (transfers.transferred_at = toDateTime64(0, 3, 'UTC') or payments.paid_at < transfers.transferred_at)
group by product
order by product
