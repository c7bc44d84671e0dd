-- Rows of a table with versions (bindings, recruitments) whose published version does not say what the replayed row says.
-- Grain: one row per license or partner that differs; `findings` counts all of them.
-- Parameters: replayed (the scratch database), table, versions (its table of versions), id (its id column), round, max_rows.
with
    published as (
        select *
        from {versions:Identifier} final
        where round <= {round:UInt64}
        order by {id:Identifier}, round desc
        limit 1 by {id:Identifier}
    ),
    both as (
        select {id:Identifier} as subject, toString(tuple(* except ({id:Identifier}, round))) as says, true as is_replayed
        from {replayed:Identifier}.{table:Identifier} final
        union all
        select {id:Identifier} as subject, toString(tuple(* except ({id:Identifier}, round))) as says, false as is_replayed
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
