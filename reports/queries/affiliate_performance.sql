-- Purpose: a partner's results as an affiliate by where they came from.
-- Grain: one row per product (of links, licenses, and partner_program for referred partners), per product and campaign of
--   the link (the former product and empty where none won), and per tags of its visits; none without any result.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive): of clicks by their time, of licenses by their start
--   (trials, qualified) and first payment (conversions), of referred partners by their join, of commission by occurred_at.
with
    (select max(round) from rounds) as published,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= published
    ) as active,
    visited as (
        select
            toString(product) as product, product as link_product, campaign as link_campaign,
            if(landing_query like '%utm_%', concat('?', landing_query), '') as url,
            count() as clicks
        from clicks
        where partner_id = {partner_id:String} and verdict = 'human' and clicked_at >= from_at and clicked_at < to_at
            and arrayExists(span -> span.1 <= clicked_at and clicked_at < span.2, active)
        group by product, link_product, link_campaign, url
    ),
    licenses as (
        select
            license_id, started_at, click_id, clicked_at, toString(product) as license_product,
            if(click_product = '', toString(product), toString(click_product)) as link_product, campaign as link_campaign
        from bindings final
        where partner_id = {partner_id:String} and origin = 'signup'
    ),
    joins as (
        select recruitments.partner_id as partner_id, clicked_at, click_id
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    joined as (
        select partner_id, joined_at from partners where partner_id in (select partner_id from joins)
    ),
    won as (
        select
            click_id, toString(product) as product, campaign,
            if(landing_query like '%utm_%', concat('?', landing_query), '') as url
        from clicks
        where partner_id = {partner_id:String}
            and (clicked_at, click_id) in (
                select clicked_at, click_id from licenses union all select clicked_at, click_id from joins
            )
    ),
    license_visits as (
        select
            licenses.license_id as license_id, licenses.started_at as started_at,
            licenses.license_product as license_product, licenses.link_product as link_product,
            licenses.link_campaign as link_campaign, won.url as url
        from licenses
        left any join won on won.click_id = licenses.click_id
    ),
    join_visits as (
        select
            joins.partner_id as partner_id, joined.joined_at as joined_at,
            if(won.product = '', 'partner_program', won.product) as link_product, won.campaign as link_campaign,
            won.url as url
        from joins
        inner join joined on joined.partner_id = joins.partner_id
        left any join won on won.click_id = joins.click_id
    ),
    qualified as (
        select distinct license_id
        from license_events
        where kind = 'qualified' and license_id in (select license_id from licenses)
    ),
    first_payments as (
        select license_id, min(paid_at) as paid_at
        from payments
        where license_id in (select license_id from licenses)
        group by license_id
    ),
    lines as (
        select tier, license_id, referred_id, toString(product) as product, amount_cents
        from ledger
        where partner_id = {partner_id:String} and round <= published and occurred_at >= from_at and occurred_at < to_at
    ),
    -- Lines of licenses that are the partner's no more add up to nothing.
    solution_licenses_of_lines as (
        select license_id
        from bindings final
        where license_id in (select license_id from lines where tier = 1) and origin = 'solution'
    ),
    results as (
        select product, link_product, link_campaign, url, clicks, 0 as trials, 0 as qls, 0 as paid, 0 as joins, 0 as cents
        from visited
        union all
        select
            license_product, link_product, link_campaign, url, 0, 1, license_id in (select license_id from qualified), 0, 0, 0
        from license_visits
        where started_at >= from_at and started_at < to_at
        union all
        select
            license_visits.license_product, license_visits.link_product, license_visits.link_campaign, license_visits.url,
            0, 0, 0, 1, 0, 0
        from license_visits
        inner join first_payments on first_payments.license_id = license_visits.license_id
        where first_payments.paid_at >= from_at and first_payments.paid_at < to_at
        union all
        select 'partner_program', link_product, link_campaign, url, 0, 0, 0, 0, 1, 0
        from join_visits
        where joined_at >= from_at and joined_at < to_at
        union all
        select
            lines.product, if(license_visits.link_product = '', lines.product, license_visits.link_product),
            license_visits.link_campaign, license_visits.url, 0, 0, 0, 0, 0, lines.amount_cents
        from lines
        left any join license_visits on license_visits.license_id = lines.license_id
        where lines.tier = 1 and lines.license_id not in (select license_id from solution_licenses_of_lines)
        union all
        select
            'partner_program', if(join_visits.link_product = '', 'partner_program', join_visits.link_product),
            join_visits.link_campaign, join_visits.url, 0, 0, 0, 0, 0, lines.amount_cents
        from lines
        left any join join_visits on join_visits.partner_id = lines.referred_id
        where lines.tier = 2
    ),
    by_visit as (
        select
            product, link_product, link_campaign, url, sum(clicks) as clicks, sum(trials) as trials, sum(qls) as qls,
            sum(paid) as paid, sum(joins) as partners_referred, sum(cents) as cents
        from results
        group by product, link_product, link_campaign, url
    )
select
    by_visit.product as product,
    toString(by_visit.link_product) as campaign_product,
    by_visit.link_campaign as campaign,
    decodeURLFormComponent(extractURLParameter(url, 'utm_campaign')) as utm_campaign,
    decodeURLFormComponent(extractURLParameter(url, 'utm_medium')) as utm_medium,
    decodeURLFormComponent(extractURLParameter(url, 'utm_content')) as utm_content,
    decodeURLFormComponent(extractURLParameter(url, 'utm_term')) as utm_term,
    sum(by_visit.clicks) as clicks,
    sum(by_visit.trials) as trials,
    sum(by_visit.qls) as qls,
    sum(by_visit.paid) as paid,
    sum(by_visit.partners_referred) as partners_referred,
    sum(by_visit.cents) as commission_cents
from by_visit
group by product, campaign_product, campaign, utm_campaign, utm_medium, utm_content, utm_term
order by product, campaign_product, campaign, utm_campaign, utm_medium, utm_content, utm_term
