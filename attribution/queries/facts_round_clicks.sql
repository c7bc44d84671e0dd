-- The clicks that can win what a chunk of a round decides again, as gathered by ledger_gather_clicks.sql.
-- Grain: one row per click and license or partner.
-- Parameters: round, chunk, decides ('license' or 'partner').
with
    scope as (
        select license_id as id
        from round_licenses
        where {decides:String} = 'license' and round = {round:UInt64} and chunk = {chunk:UInt32}
        union all
        select partner_id as id
        from round_partners
        where {decides:String} = 'partner' and round = {round:UInt64} and chunk = {chunk:UInt32}
    )
select
    id,
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    partner_id,
    product,
    campaign
from round_clicks
where round = {round:UInt64} and decides = {decides:String} and id in (select id from scope)
