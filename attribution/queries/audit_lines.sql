-- What the rules give on the raw facts (R6, R8–R11, R13) beside what the published ledger says.
-- Grain: one row per money event, tier and partner that differs; or, with per_partner, one per tier and partner that
--   either gives anything. `found` counts the rows beyond max_rows too.
-- Parameters: audit, round, through_load, first_percent, second_percent (in hundredths), per_partner, max_rows.
with
    n -> sign(n) * (
        intDiv(abs(n), 10000) + (abs(n) % 10000 > 5000 or (abs(n) % 10000 = 5000 and intDiv(abs(n), 10000) % 2 = 1))
    ) as half_even,
    suspensions as (
        select partner_id, occurred_at as since, argMax(kind, event_id) = 'suspended' as is_suspended
        from partner_events
        where kind in ('suspended', 'reinstated') and load_id <= {through_load:UInt64}
        group by partner_id, occurred_at
    ),
    rates as (
        select
            partner_id,
            occurred_at as since,
            argMax(assumeNotNull(first_tier_percent_hundredths), event_id) as first_percent,
            argMax(assumeNotNull(second_tier_percent_hundredths), event_id) as second_percent,
            argMax(ifNull(until, toDateTime64('2299-12-31 00:00:00', 3, 'UTC')), event_id) as ends_at
        from partner_events
        where kind = 'rate_changed' and load_id <= {through_load:UInt64}
        group by partner_id, occurred_at
    ),
    returned as (
        select
            refund_id,
            payment_id,
            if(kind = 'chargeback_won', amount_cents, -amount_cents) as change_cents,
            sum(change_cents) over (
                partition by payment_id
                order by refunded_at, refund_id
                rows between unbounded preceding and current row
            ) as total_cents
        from refunds
        where load_id <= {through_load:UInt64}
    ),
    money as (
        select
            concat('payment:', payment_id) as money_event_id, payment_id, license_id, paid_at,
            toInt64(0) as base_before_cents, amount_cents as base_after_cents
        from payments
        where load_id <= {through_load:UInt64}
        union all
        select
            concat('refund:', returned.refund_id) as money_event_id,
            payments.payment_id,
            payments.license_id,
            payments.paid_at,
            least(
                payments.amount_cents,
                greatest(0, payments.amount_cents + returned.total_cents - returned.change_cents)
            ) as base_before_cents,
            least(payments.amount_cents, greatest(0, payments.amount_cents + returned.total_cents)) as base_after_cents
        from payments
        inner join returned on returned.payment_id = payments.payment_id
        where payments.load_id <= {through_load:UInt64}
    ),
    bindings as (
        select license_id, partner_id, recruiter_id, is_partner_paid, client_pays_from
        from audit_bindings
        where audit = {audit:UInt64} and earns
    ),
    tiers as (
        select
            money.money_event_id as money_event_id,
            money.payment_id as payment_id,
            money.license_id as license_id,
            money.paid_at as paid_at,
            money.base_before_cents as base_before_cents,
            money.base_after_cents as base_after_cents,
            arrayJoin([
                (
                    toUInt8(1),
                    if(bindings.is_partner_paid and money.paid_at < bindings.client_pays_from, '', bindings.partner_id)
                ),
                (toUInt8(2), bindings.recruiter_id)
            ]) as share,
            tupleElement(share, 1) as tier,
            tupleElement(share, 2) as earner_id
        from money
        inner join bindings on bindings.license_id = money.license_id
    ),
    active as (
        select tiers.*
        from tiers
        asof left join suspensions
            on suspensions.partner_id = tiers.earner_id and suspensions.since <= tiers.paid_at
        where tiers.earner_id != '' and not suspensions.is_suspended
    ),
    with_percent as (
        select
            active.*,
            rates.partner_id != '' and active.paid_at < rates.ends_at as has_own_rate,
            toInt64(multiIf(
                has_own_rate and active.tier = 1, rates.first_percent,
                has_own_rate, rates.second_percent,
                active.tier = 1, {first_percent:UInt16},
                {second_percent:UInt16}
            )) as percent
        from active
        asof left join rates on rates.partner_id = active.earner_id and rates.since <= active.paid_at
    ),
    expected as (
        select
            license_id, payment_id, money_event_id, tier, earner_id,
            half_even(base_after_cents * percent) - half_even(base_before_cents * percent) as cents
        from with_percent
    ),
    both as (
        select license_id, payment_id, money_event_id, tier, earner_id, cents as expected, toInt64(0) as posted
        from expected
        union all
        select license_id, payment_id, money_event_id, tier, partner_id, toInt64(0) as expected, amount_cents as posted
        from ledger
        where round <= {round:UInt64}
    )
select
    if({per_partner:UInt8}, '', both.license_id) as license_id,
    if({per_partner:UInt8}, '', both.payment_id) as payment_id,
    if({per_partner:UInt8}, '', both.money_event_id) as money_event_id,
    tier,
    earner_id as partner_id,
    sum(expected) as expected_cents,
    sum(posted) as posted_cents,
    count() over () as found
from both
group by license_id, payment_id, money_event_id, tier, earner_id
having {per_partner:UInt8} or expected_cents != posted_cents
order by license_id, payment_id, money_event_id, tier, partner_id
limit {max_rows:UInt32}
settings max_bytes_before_external_group_by = 500000000
