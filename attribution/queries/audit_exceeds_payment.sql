-- Payments of which more came back than was paid, or was won back than had gone (R8).
-- Grain: one row per payment; `findings` counts all of them.
-- Parameters: through_load, max_rows.
with
    returned as (
        select
            payment_id,
            sumIf(amount_cents, kind != 'chargeback_won') as back_cents,
            sumIf(amount_cents, kind = 'chargeback_won') as won_cents
        from refunds
        where load_id <= {through_load:UInt64}
        group by payment_id
    )
select
    payments.payment_id as subject,
    concat(
        'paid ', toString(payments.amount_cents), ', back ', toString(returned.back_cents),
        ', won ', toString(returned.won_cents)
    ) as detail,
    count() over () as findings
from payments
inner join returned on returned.payment_id = payments.payment_id
where payments.load_id <= {through_load:UInt64}
    and not payments.amount_cents - returned.back_cents + returned.won_cents between 0 and payments.amount_cents
order by subject
limit {max_rows:UInt32}
