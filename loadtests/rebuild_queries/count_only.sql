-- The bare SQL that the recompute is compared to: it counts both tiers over everything and keeps nothing. It knows the
-- window, the newest click, joins, and refunds; it knows neither suspensions, rates nor the e-mails' rule.
-- Grain: one row. Parameters: window_ms.
with
    visits as (
        select license_id, assumeNotNull(visitor_id) as visitor_id, signed_up_at
        from signups
        where visitor_id is not null
    ),
    seen as (
        select clicks.visitor_id as visitor_id, clicks.clicked_at as clicked_at, clicks.partner_id as partner_id
        from clicks
        inner join partners on partners.partner_id = clicks.partner_id
        where clicks.verdict = 'human'
            and clicks.visitor_id in (select visitor_id from visits)
            and partners.joined_at <= clicks.clicked_at
    ),
    bound as (
        select visits.license_id as license_id, seen.partner_id as partner_id
        from visits
        asof inner join seen on seen.visitor_id = visits.visitor_id and seen.clicked_at <= visits.signed_up_at
        where seen.clicked_at >= visits.signed_up_at - toIntervalMillisecond({window_ms:Int64})
    ),
    returned as (
        select payment_id, sum(amount_cents) as cents
        from refunds
        group by payment_id
    )
select
    count() as payments,
    sum(toInt64(round(0.2 * greatest(0, payments.amount_cents - returned.cents)))) as first_tier_cents,
    sumIf(
        toInt64(round(0.05 * greatest(0, payments.amount_cents - returned.cents))), partners.recruiter_hint != ''
    ) as second_tier_cents
from payments
inner join bound on bound.license_id = payments.license_id
inner join partners on partners.partner_id = bound.partner_id
left join returned on returned.payment_id = payments.payment_id
