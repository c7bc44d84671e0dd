-- Purpose: a partner's results as an affiliate by where they came from, clicks aside (click_visits.sql).
-- Grain: one row per product (of licenses, and partner_program for referred partners), per product and campaign of the
--   link (the former product and empty where none won), and per tags of its visits; none without any result.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive): of licenses by their start (trials, qualified) and
--   first payment (paid), of referred partners by their join, of commission by occurred_at.
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    -- Rather too many: the licenses that are or were the partner's.
    mine as materialized (select license_id from partner_bindings where partner_id = {partner_id:String}),
    licenses as materialized (
        select
            license_id, started_at, clicked_at, click_id, toString(product) as product,
            if(click_product = '', toString(product), toString(click_product)) as link_product, campaign
        from partner_bindings final
        where partner_id = {partner_id:String} and is_current and origin = 'signup'
    ),
    license_visits as (
        select click_id, if(landing_query like '%utm_%', concat('?', landing_query), '') as url
        from clicks
        where partner_id = {partner_id:String}
            and (clicked_at, click_id) in (
                select clicked_at, click_id from licenses
            )
    ),
    qualified as (
        select license_id, 1 as is_qualified
        from license_events
        where kind = 'qualified' and license_id in (select license_id from mine)
        group by license_id
    ),
    first_payments as (
        select license_id, min(payments.paid_at) as first_paid_at
        from payments
        where license_id in (select license_id from mine)
        group by license_id
    ),
    -- What was earned with licenses that are somebody else's now adds up to nothing.
    license_earnings as (
        select license_id, sum(amount_cents) as cents
        from ledger
        where partner_id = {partner_id:String} and tier = 1 and round <= published
            and occurred_at >= from_at and occurred_at < to_at
        group by license_id
    ),
    joins as materialized (
        select partner_id as referred_id, click_id
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    join_visits as (
        select
            click_id, toString(product) as link_product, campaign,
            if(landing_query like '%utm_%', concat('?', landing_query), '') as url
        from clicks
        where partner_id = {partner_id:String}
            and (clicked_at, click_id) in (
                select clicked_at, click_id from recruitments where recruiter_id = {partner_id:String}
            )
    ),
    join_earnings as (
        select referred_id, sum(amount_cents) as cents
        from ledger
        where partner_id = {partner_id:String} and tier = 2 and round <= published
            and occurred_at >= from_at and occurred_at < to_at
        group by referred_id
    ),
    results as (
        select
            licenses.product as product, licenses.link_product as link_product, licenses.campaign as campaign,
            license_visits.url as url,
            licenses.started_at >= from_at and licenses.started_at < to_at as trials,
            trials and qualified.is_qualified as qls,
            first_payments.license_id != '' and first_payments.first_paid_at >= from_at
                and first_payments.first_paid_at < to_at as paid,
            0 as joined, license_earnings.cents as cents
        from licenses
        left any join license_visits on license_visits.click_id = licenses.click_id
        left join qualified on qualified.license_id = licenses.license_id
        left join first_payments on first_payments.license_id = licenses.license_id
        left join license_earnings on license_earnings.license_id = licenses.license_id
        union all
        select
            'partner_program', if(join_visits.link_product = '', 'partner_program', join_visits.link_product),
            join_visits.campaign, join_visits.url, 0, 0, 0,
            partners.joined_at >= from_at and partners.joined_at < to_at, join_earnings.cents
        from joins
        inner join partners on partners.partner_id = joins.referred_id
        left any join join_visits on join_visits.click_id = joins.click_id
        left join join_earnings on join_earnings.referred_id = joins.referred_id
    ),
    by_visit as (
        select
            product, link_product, campaign, url, sum(trials) as trials, sum(qls) as qls, sum(paid) as paid,
            sum(joined) as joined, sum(cents) as cents
        from results
        group by product, link_product, campaign, url
    )
select
    by_visit.product as product,
    by_visit.link_product as campaign_product,
    by_visit.campaign as campaign,
    decodeURLFormComponent(extractURLParameter(url, 'utm_campaign')) as utm_campaign,
    decodeURLFormComponent(extractURLParameter(url, 'utm_medium')) as utm_medium,
    decodeURLFormComponent(extractURLParameter(url, 'utm_content')) as utm_content,
    decodeURLFormComponent(extractURLParameter(url, 'utm_term')) as utm_term,
    sum(by_visit.trials) as trials,
    sum(by_visit.qls) as qls,
    sum(by_visit.paid) as paid,
    sum(by_visit.joined) as partners_referred,
    sum(by_visit.cents) as commission_cents
from by_visit
group by product, campaign_product, campaign, utm_campaign, utm_medium, utm_content, utm_term
having trials > 0 or paid > 0 or partners_referred > 0 or commission_cents != 0
