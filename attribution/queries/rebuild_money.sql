-- Payments with all that came back of them, a page at a time; also what came back of payments that are not known.
-- Grain: one row per payment. `paid_cents` is null where the payment is not known.
-- Parameters: after, the last id of the page before; page_size.
with
    ids as (
        select payment_id
        from payments
        where payment_id > {after:String}
        order by payment_id
        limit {page_size:UInt32}
        union distinct
        select payment_id
        from refunds
        where payment_id > {after:String}
        order by payment_id
        limit {page_size:UInt32}
    ),
    page as (
        select payment_id
        from ids
        order by payment_id
        limit {page_size:UInt32}
    ),
    paid as (
        select
            payment_id,
            toNullable(amount_cents) as paid_cents,
            digest
        from payments
        where payment_id in (select payment_id from page)
    ),
    back as (
        select
            payment_id,
            groupArray((refund_id, toString(kind), amount_cents, digest)) as refunds
        from refunds
        where payment_id in (select payment_id from page)
        group by payment_id
    )
select
    page.payment_id as id,
    paid.paid_cents as paid_cents,
    paid.digest as digest,
    back.refunds as refunds
from page
left join paid on paid.payment_id = page.payment_id
left join back on back.payment_id = page.payment_id
order by id
