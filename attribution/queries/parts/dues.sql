-- What the ledger should say of the payments to settle.
-- Grain: one row per money event, tier and partner; none of zero.
-- Parameters: round, after_load, through_load, first_percent and second_percent (the program's, in hundredths), parts,
-- part (which of the parts, by the license's hash), standing (1: of the payments of which the ledger may say something
-- already; 0: of the others).
with
    -- R9: a percent of cents, neither below zero, to the nearest cent; halves to the even one
    (base_cents, percent) -> (
        intDiv(base_cents * percent + 5000, 10000) - ((base_cents * percent) % 20000 = 5000)
    ) as commission_cents,
    -- R11: whether a moment is in one of the spans of suspension
    (moment, suspensions) -> arrayExists(span -> span.1 <= moment and moment < span.2, suspensions) as is_in,
    -- R10: the place of the rates of one's own that are in force at a moment; 0 for the program's
    (moment, rates) -> arrayFirstIndex(span -> span.1 <= moment and moment < span.2, rates) as in_force_at,
    to_settle as (
        select payment_id, license_id, paid_at, amount_cents, currency
        from round_payments
        where may_stand = {standing:UInt8}
    ),
    known as (
        select partner_id, suspensions, rates
        from standings final
    ),
    newest_bindings as (
        select
            license_id, product, partner_id, recruiter_id, reason,
            if(
                payment_origin = 'partner',
                ifNull(transferred_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC')),
                toDateTime64(0, 3, 'UTC')
            ) as client_pays_from
        from binding_versions final
        where round <= {round:UInt64}
            and cityHash64(license_id) % {parts:UInt32} = {part:UInt32}
            and ({after_load:UInt64} = 0 or license_id in (select license_id from to_settle))
        order by round desc
        limit 1 by license_id
    ),
    bound as (  -- R4, R5: what belongs to its own client, or to a partner who is not known yet, earns nobody anything
        select
            newest_bindings.license_id as bound_license_id,
            newest_bindings.product as product,
            newest_bindings.partner_id as bound_id,
            newest_bindings.recruiter_id as recruiter_id,
            newest_bindings.client_pays_from as client_pays_from,
            partners.suspensions as suspensions,
            partners.rates as rates,
            recruiters.suspensions as recruiter_suspensions,
            recruiters.rates as recruiter_rates
        from newest_bindings
        inner join known as partners on partners.partner_id = newest_bindings.partner_id
        left join known as recruiters on recruiters.partner_id = newest_bindings.recruiter_id
        where newest_bindings.reason != 'self_referral'
    ),
    returned as (  -- R8: what came back or was won back, by time and id, as running totals
        select
            payment_id as returned_payment_id,
            refund_id,
            kind,
            refunded_at,
            if(kind = 'chargeback_won', amount_cents, -amount_cents) as change_cents,
            sum(change_cents) over (
                partition by payment_id order by refunded_at, refund_id
                rows between unbounded preceding and current row
            ) as total_cents
        from refunds
        where load_id <= {through_load:UInt64}
            and ({after_load:UInt64} = 0 or payment_id in (select payment_id from to_settle))
    ),
    money as (  -- R8: what commission is taken of, before and after each money event: between 0 and what was paid
        select
            payment_id, license_id, paid_at, currency,
            concat('payment:', payment_id) as money_event_id,
            'commission' as kind,
            paid_at as occurred_at,
            toInt64(0) as base_before,
            amount_cents as base_after
        from to_settle
        union all
        select
            payment_id, license_id, paid_at, currency,
            concat('refund:', refund_id) as money_event_id,
            toString(kind) as kind,
            refunded_at as occurred_at,
            greatest(0, least(amount_cents, amount_cents + total_cents - change_cents)) as base_before,
            greatest(0, least(amount_cents, amount_cents + total_cents)) as base_after
        from to_settle
        inner join returned on returned_payment_id = payment_id
    ),
    shared as (  -- R6, R13: whether each tier earns, and at which percent, as it was at the payment's time
        select
            money.*,
            bound.product as product,
            bound_id,
            recruiter_id,
            paid_at >= client_pays_from and not is_in(paid_at, suspensions) as first_earns,
            recruiter_id != '' and not is_in(paid_at, recruiter_suspensions) as second_earns,
            in_force_at(paid_at, rates) as own_rates,
            in_force_at(paid_at, recruiter_rates) as recruiters_own_rates,
            if(own_rates = 0, {first_percent:UInt16}, rates[own_rates].3) as first_percent,
            if(recruiters_own_rates = 0, {second_percent:UInt16}, recruiter_rates[recruiters_own_rates].4)
                as second_percent
        from money
        inner join bound on bound_license_id = license_id
    ),
    tiers as (
        select
            shared.*,
            arrayJoin(arrayFilter(
                given -> given.1 != 0,
                [
                    (toUInt8(first_earns), bound_id, '', first_percent),
                    (toUInt8(2 * second_earns), recruiter_id, bound_id, second_percent)
                ]
            )) as share,
            toInt64(share.4) as percent
        from shared
    )
select
    payment_id,
    license_id,
    product,
    currency,
    money_event_id,
    kind,
    occurred_at,
    share.1 as tier,
    share.2 as partner_id,
    share.3 as referred_id,
    base_after - base_before as basis_cents,
    percent as percent_hundredths,
    commission_cents(base_after, percent) - commission_cents(base_before, percent) as amount_cents
from tiers
where amount_cents != 0
