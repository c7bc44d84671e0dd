-- Partners whose published recruiter is not the replayed one, or not for the same click and reason.
-- Grain: one row per partner that differs; `findings` counts all of them.
-- Parameters: replayed (the scratch database), round, max_rows.
with
    published as (
        select *
        from recruitment_versions final
        where round <= {round:UInt64}
        order by partner_id, round desc
        limit 1 by partner_id
    ),
    both as (
        select partner_id as subject, toString(tuple(* except (partner_id, round))) as says, true as is_replayed
        from {replayed:Identifier}.recruitments final
        union all
        select partner_id as subject, toString(tuple(* except (partner_id, round))) as says, false as is_replayed
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
