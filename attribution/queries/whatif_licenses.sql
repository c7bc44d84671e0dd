-- How many licenses each partner has in the published bindings, and how many under the recomputed rules.
-- Grain: one row per partner; partner_id is empty for licenses that are nobody's. `left_behind`: of those that the
--   partner has, how many would be somebody else's.
-- Parameters: audit, round.
with
    published as (
        select license_id, partner_id
        from binding_versions final
        where round <= {round:UInt64}
        order by license_id, round desc
        limit 1 by license_id
    ),
    of_license as (
        select license_id, anyIf(partner_id, is_now) as now_id, anyIf(partner_id, not is_now) as then_id
        from (
            select license_id, partner_id, true as is_now from published
            union all
            select license_id, partner_id, false as is_now from audit_bindings where audit = {audit:UInt64}
        )
        group by license_id
    ),
    sides as (
        select
            arrayJoin([(now_id, 1), (then_id, 0)]) as side,
            tupleElement(side, 1) as partner_id,
            tupleElement(side, 2) as is_now,
            now_id != then_id as moves
        from of_license
    )
select
    partner_id,
    countIf(is_now) as licenses_now,
    countIf(not is_now) as licenses_then,
    countIf(is_now and moves) as left_behind
from sides
group by partner_id
settings max_bytes_before_external_group_by = 500000000
