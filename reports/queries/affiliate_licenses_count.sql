-- Purpose: a partner's affiliate licenses: those that began in a period (trials), those of them that are qualified by now,
--   and those that were paid for the first time in it (conversions).
-- Grain: one row per product of the licenses and per product and campaign of the winning links (those of the license and
--   empty where no link won, R3), and per day where asked.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive), product (of the license; empty for all), by_day and
--   by_campaign (1, or 0 for empty texts in their columns).
with
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    licenses as (
        select
            license_id,
            toString(product) as license_product,
            started_at,
            if(click_product = '', toString(product), toString(click_product)) as link_product,
            campaign as link_campaign
        from bindings final
        where partner_id = {partner_id:String} and origin = 'signup'
            and ({product:String} = '' or product = {product:String})
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
    moments as (
        select
            license_product, link_product, link_campaign, started_at as moment,
            1 as trials, toUInt64(license_id in (select license_id from qualified)) as qualified, 0 as conversions
        from licenses
        union all
        select
            licenses.license_product, licenses.link_product, licenses.link_campaign, first_payments.paid_at as moment,
            0 as trials, 0 as qualified, 1 as conversions
        from first_payments
        inner join licenses on licenses.license_id = first_payments.license_id
    )
select
    if({by_day:UInt8} = 1, toString(toDate(moment, 'UTC')), '') as day_text,
    license_product as product,
    if({by_campaign:UInt8} = 1, link_product, '') as campaign_product,
    if({by_campaign:UInt8} = 1, link_campaign, '') as campaign,
    sum(trials) as trials,
    sum(qualified) as qualified,
    sum(conversions) as conversions
from moments
where moment >= from_at and moment < to_at
group by day_text, product, campaign_product, campaign
