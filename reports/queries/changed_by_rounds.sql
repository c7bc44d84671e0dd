-- Purpose: the partners whose reports new rounds can change, rather too many than too few: those who got lines, whose
--   standing or recruiter changed, to whom a license went or ever belonged that was decided again, and who recruited or
--   ever recruited them.
-- Grain: one row per partner. Parameters: after_round, through_round.
with
    owners as materialized (
        select partner_id
        from binding_versions
        where license_id in (
            select license_id
            from binding_versions
            where round > {after_round:UInt64} and round <= {through_round:UInt64}
        )
        union all
        select partner_id
        from recruitment_versions
        where round > {after_round:UInt64} and round <= {through_round:UInt64}
    )
select distinct partner_id
from (
    select partner_id from owners
    union all
    select recruiter_id from recruitment_versions where partner_id in (select partner_id from owners)
    union all
    select partner_id from ledger where round > {after_round:UInt64} and round <= {through_round:UInt64}
    union all
    select partner_id from standings where round > {after_round:UInt64} and round <= {through_round:UInt64}
)
