-- Purpose: what a partner earned as an affiliate by campaign, from the ledger: the first tier of licenses that came by
--   links (R2, R3), and the second tier, which is what links to the partner program earn. Its sums are those of
--   partner_commission_days for the affiliate program.
-- Grain: one row per product and campaign of the link that won the license or the referred partner (of the license or
--   partner_program, and empty, where no link did), and per day where asked.
-- Parameters: partner_id, from_ms and to_ms (of occurred_at: inclusive, exclusive), billing_cycle (monthly or annual, which
--   payments say, and are monthly where they do not; empty for both), by_day (1, or 0 for an empty text in its column).
with
    (select max(round) from rounds) as published,
    lines as materialized (
        select occurred_at, tier, license_id, payment_id, referred_id, amount_cents, toString(product) as license_product
        from ledger
        where partner_id = {partner_id:String} and round <= published
            and occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            and occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ),
    licenses as (
        select license_id, is_current, origin, toString(click_product) as link_product, campaign as link_campaign
        from partner_bindings final
        where partner_id = {partner_id:String}
    ),
    joins as materialized (
        select partner_id as referred_id, clicked_at, click_id
        from recruitments final
        where partner_id in (select referred_id from lines where tier = 2) and recruiter_id = {partner_id:String}
    ),
    join_links as (
        select joins.referred_id as referred_id, toString(clicks.product) as link_product, clicks.campaign as link_campaign
        from clicks
        inner join joins on joins.click_id = clicks.click_id
        where clicks.partner_id = {partner_id:String}
            and (clicks.clicked_at, clicks.click_id) in (select clicked_at, click_id from joins)
    ),
    annual as (
        select payment_id
        from payments
        where {billing_cycle:String} != '' and billing_cycle = 'annual'
            and (license_id, payment_id) in (select license_id, payment_id from lines)
    ),
    first_tier as (
        select
            lines.occurred_at as occurred_at, lines.payment_id as payment_id, lines.amount_cents as amount_cents,
            lines.license_product as product,
            -- A license that a late fact gave to somebody else: its lines add up to nothing.
            if(licenses.is_current, licenses.link_product, '') as won_product,
            if(licenses.is_current, licenses.link_campaign, '') as won_campaign
        from lines
        inner join licenses on licenses.license_id = lines.license_id
        where lines.tier = 1 and licenses.origin = 'signup'
    ),
    second_tier as (
        select
            lines.occurred_at as occurred_at, lines.payment_id as payment_id, lines.amount_cents as amount_cents,
            'partner_program' as product, join_links.link_product as won_product, join_links.link_campaign as won_campaign
        from lines
        left any join join_links on join_links.referred_id = lines.referred_id
        where lines.tier = 2
    )
select
    if({by_day:UInt8} = 1, toString(toDate(occurred_at, 'UTC')), '') as day_text,
    if(won_product = '', product, won_product) as campaign_product,
    won_campaign as campaign,
    sum(amount_cents) as earned_cents
from (select * from first_tier union all select * from second_tier)
where {billing_cycle:String} = '' or ({billing_cycle:String} = 'annual') = (payment_id in (select payment_id from annual))
group by day_text, campaign_product, campaign
