-- Licenses whose published binding is not the replayed one.
-- Grain: one row per license that differs; `findings` counts all of them.
-- Parameters: replayed (the scratch database), round, max_rows.
with
    published as (
        select *
        from binding_versions final
        where round <= {round:UInt64}
        order by license_id, round desc
        limit 1 by license_id
    ),
    both as (
        select license_id as subject, toString(tuple(* except (license_id, round))) as says, true as is_replayed
        from {replayed:Identifier}.bindings final
        union all
        select license_id as subject, toString(tuple(* except (license_id, round))) as says, false as is_replayed
        from published
    )
select
    subject,
    concat('replayed ', anyIf(says, is_replayed), ', published ', anyIf(says, not is_replayed)) as detail,
    count() over () as findings
from both
group by subject
having anyIf(says, is_replayed) != anyIf(says, not is_replayed)
order by subject
limit {max_rows:UInt32}
settings max_bytes_before_external_group_by = 500000000
