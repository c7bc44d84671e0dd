-- Partners with what decides who recruited them (R7).
-- Grain: one row per known partner of the scope: a round's chunk, or the one partner `partner_id` (then round 0).
-- Parameters: through_load, round, chunk, partner_id.
with
    scope as (
        select partner_id
        from round_partners
        where round = {round:UInt64} and chunk = {chunk:UInt32}
        union distinct
        select {partner_id:String}
    )
select
    partner_id,
    toUnixTimestamp64Milli(joined_at) as joined_at,
    email_hash,
    ifNull(toString(visitor_id), '') as visitor_id,
    recruiter_hint
from partners
where partner_id in (select partner_id from scope) and load_id <= {through_load:UInt64}
order by partner_id
