-- Purpose: what facts and the ledger say of solution licenses.
-- Grain: one row per license of `license_ids` that has stages, payments or commission.
-- Parameters: partner_id, license_ids, now_ms.
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    -- R6: what a payment that the partner made has saved: 20 of 80, halves to the even cent
    amount_cents -> (intDiv(amount_cents + 2, 4) - ((amount_cents % 8) = 2)) as saved_cents,
    stages as (
        select
            license_id,
            countIf(kind = 'qualified') > 0 as is_qualified,
            countIf(kind = 'card_added') > 0 as has_card,
            maxIf(occurred_at, kind = 'expired') as expired_at,
            argMaxIf(kind, (occurred_at, event_id), kind in ('blocked', 'unblocked')) = 'blocked' as is_blocked
        from license_events
        where license_id in {license_ids:Array(String)} and occurred_at <= now_at
        group by license_id
    ),
    partners_pay as (  -- R13: until when the partner pays
        select
            solution_licenses.license_id as license_id,
            min(ifNull(license_transfers.occurred_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC'))) as until
        from solution_licenses
        left join (
            select license_id, toNullable(min(occurred_at)) as occurred_at
            from license_transfers
            where license_id in {license_ids:Array(String)}
            group by license_id
        ) as license_transfers on license_transfers.license_id = solution_licenses.license_id
        where solution_licenses.license_id in {license_ids:Array(String)} and payment_origin = 'partner'
        group by license_id
    ),
    returned as (
        select payment_id as returned_payment_id, sum(if(kind = 'chargeback_won', -amount_cents, amount_cents)) as returned_cents
        from refunds
        where payment_id in (select payment_id from payments where license_id in {license_ids:Array(String)})
        group by returned_payment_id
    ),
    money as (
        select
            payments.license_id as license_id,
            min(paid_at) as first_paid_at,
            max(paid_at) as last_paid_at,
            argMax(
                greatest(0, least(amount_cents, amount_cents - returned_cents)), (paid_at, payment_id)
            ) as newest_cents,
            argMax(billing_cycle, (paid_at, payment_id)) as newest_cycle,
            sumIf(ifNull(discount_cents, saved_cents(amount_cents)), paid_at < partners_pay.until) as discount_cents
        from payments
        left join partners_pay on partners_pay.license_id = payments.license_id
        left join returned on returned.returned_payment_id = payments.payment_id
        where payments.license_id in {license_ids:Array(String)} and paid_at <= now_at
        group by license_id
    ),
    earned as (
        select license_id, sum(amount_cents) as earned_cents
        from ledger
        where partner_id = {partner_id:String} and tier = 1 and round <= published
            and license_id in {license_ids:Array(String)}
        group by license_id
    ),
    known as (
        select license_id from stages union distinct select license_id from money
        union distinct select license_id from earned
    )
select
    known.license_id as license_id,
    stages.is_qualified as is_qualified,
    stages.has_card as has_card,
    stages.is_blocked as is_blocked,
    toUnixTimestamp64Milli(stages.expired_at) as expired_ms,
    toUnixTimestamp64Milli(money.first_paid_at) as first_paid_ms,
    toUnixTimestamp64Milli(money.last_paid_at) as last_paid_ms,
    money.newest_cents as newest_cents,
    money.newest_cycle as newest_cycle,
    money.discount_cents as discount_cents,
    earned.earned_cents as earned_cents
from known
left join stages on stages.license_id = known.license_id
left join money on money.license_id = known.license_id
left join earned on earned.license_id = known.license_id
