-- Purpose: how many of a partner's affiliate licenses began in a period (trials), and how many were paid for the first
--   time in it (conversions).
-- Grain: one row per product and campaign of the winning links (that of the license and empty where no link won, R3)
--   where asked, and per day where asked.
-- Parameters: partner_id, from_ms and to_ms (inclusive, exclusive), product (of the license; empty for all), by_day and
--   by_campaign (1, or 0 for empty texts in their columns).
with
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') as from_at,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') as to_at,
    licenses as materialized (
        select
            license_id,
            started_at,
            if(click_product = '', toString(product), toString(click_product)) as link_product,
            campaign as link_campaign
        from partner_bindings final
        where partner_id = {partner_id:String} and is_current and origin = 'signup'
            and ({product:String} = '' or product = {product:String})
    ),
    first_payments as (
        select license_id, min(paid_at) as paid_at
        from payments
        where license_id in (select license_id from licenses)
        group by license_id
    ),
    moments as (
        select
            link_product, link_campaign, started_at as moment,
            1 as trials, 0 as conversions
        from licenses
        union all
        select
            licenses.link_product, licenses.link_campaign, first_payments.paid_at as moment,
            0 as trials, 1 as conversions
        from first_payments
        inner join licenses on licenses.license_id = first_payments.license_id
    )
select
    if({by_day:UInt8} = 1, toString(toDate(moment, 'UTC')), '') as day_text,
    if({by_campaign:UInt8} = 1, link_product, '') as campaign_product,
    if({by_campaign:UInt8} = 1, link_campaign, '') as campaign,
    sum(trials) as trials,
    sum(conversions) as conversions
from moments
where moment >= from_at and moment < to_at
group by day_text, campaign_product, campaign
