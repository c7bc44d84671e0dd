-- Purpose: the partners whose reports other facts of new loads can change, rather too many than too few: whose license
--   the fact is about is or ever was, who created it, and who recruited or ever recruited them. Refunds change the ledger
--   alone, and so nothing before their round.
-- Grain: one row per partner. Parameters: after_load.
with
    licenses as materialized (
        select license_id from signups where load_id > {after_load:UInt64}
        union all
        select license_id from solution_licenses where load_id > {after_load:UInt64}
        union all
        select license_id from license_transfers where load_id > {after_load:UInt64}
        union all
        select license_id from license_events where load_id > {after_load:UInt64}
        union all
        select license_id from subscription_events where load_id > {after_load:UInt64}
        union all
        select license_id from payments where load_id > {after_load:UInt64}
    ),
    owners as materialized (
        select partner_id from binding_versions where license_id in (select license_id from licenses)
        union all
        select partner_id from solution_licenses where license_id in (select license_id from licenses)
    )
select distinct partner_id
from (
    select partner_id from owners
    union all
    select recruiter_id from recruitment_versions where partner_id in (select partner_id from owners)
    union all
    select partner_id from partner_events where load_id > {after_load:UInt64}
    union all
    select partner_id from partners where load_id > {after_load:UInt64}
)
