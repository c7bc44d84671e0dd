-- Purpose: the licenses that came by a partner's links (R2, R3), with where they stand, what they earned, and the tags of
--   the winning click.
-- Grain: one row per license, newest first.
-- Parameters: partner_id, from_ms and to_ms (of the license's start: inclusive, exclusive), now_ms, trial_days (of a
--   license that names none).
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    licenses as materialized (
        select license_id, product, started_at, reason, click_id, clicked_at, click_product, campaign
        from partner_bindings final
        where partner_id = {partner_id:String} and is_current and origin = 'signup'
            and started_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            and started_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ),
    stages as (include license_stages),
    money as (include license_payments),
    earned as (include license_earnings),
    trials as (include signup_trials),
    visits as (
        select click_id, if(landing_query like '%utm_%', concat('?', landing_query), '') as url
        from clicks
        where partner_id = {partner_id:String}
            and (clicked_at, click_id) in (select clicked_at, click_id from licenses)
    )
select
    toString(licenses.product) as product,
    toUnixTimestamp64Milli(licenses.started_at) as started_ms,
    if(licenses.click_product = '', toString(licenses.product), toString(licenses.click_product)) as link_product,
    licenses.campaign as campaign,
    licenses.reason = 'self_referral' as is_self_referral,
    stages.is_qualified as is_qualified,
    stages.has_card as has_card,
    stages.is_blocked as is_blocked,
    money.payment_count > 0 as is_paid,
    stages.expired_at > toDateTime64(0, 3, 'UTC') and stages.expired_at >= money.last_paid_at as was_ended,
    was_ended or (money.payment_count = 0 and trials.ends_at <= now_at) as is_expired,
    toUnixTimestamp64Milli(
        multiIf(
            was_ended, stages.expired_at,
            money.payment_count > 0 and money.last_cycle = 'annual', addYears(money.last_paid_at, 1),
            money.payment_count > 0, addMonths(money.last_paid_at, 1),
            trials.ends_at
        )
    ) as end_ms,
    earned.earned_cents as earned_cents,
    decodeURLFormComponent(extractURLParameter(visits.url, 'utm_campaign')) as utm_campaign,
    decodeURLFormComponent(extractURLParameter(visits.url, 'utm_medium')) as utm_medium,
    decodeURLFormComponent(extractURLParameter(visits.url, 'utm_content')) as utm_content,
    decodeURLFormComponent(extractURLParameter(visits.url, 'utm_term')) as utm_term
from licenses
left join stages on stages.license_id = licenses.license_id
left join money on money.license_id = licenses.license_id
left join earned on earned.license_id = licenses.license_id
left join trials on trials.license_id = licenses.license_id
left any join visits on visits.click_id = licenses.click_id
order by licenses.started_at desc, licenses.license_id desc
