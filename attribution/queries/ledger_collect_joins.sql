-- The joins to decide: new ones, and earlier ones that the new facts can touch (R7).
-- Grain: one row per partner.
-- Parameters: after_load, through_load.
insert into round_joins (partner_id, joined_at, email_hash, visitor_id, recruiter_hint)
with
    joins as (
        select *
        from partners
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
        union all
        select *
        from partners
        where load_id <= {after_load:UInt64}
            and partner_id in (select id from round_touched where decides = 'partner')
    )
select
    partner_id,
    joined_at,
    email_hash,
    ifNull(visitor_id, toUUID('00000000-0000-0000-0000-000000000000')),
    recruiter_hint
from joins
