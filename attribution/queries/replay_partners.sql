-- Partners of whom a table (partner_spans, standings: rounds go by it) does not say what the replayed one says.
-- Those whom a newer round has decided again are left out: what the table said of them before is gone.
-- Grain: one row per partner that differs; `findings` counts all of them.
-- Parameters: replayed (the scratch database), table, round, max_rows.
with
    both as (
        select partner_id, toString(tuple(* except (partner_id, round))) as says, true as is_replayed, 0 as round
        from {replayed:Identifier}.{table:Identifier} final
        union all
        select partner_id, toString(tuple(* except (partner_id, round))) as says, false as is_replayed, round
        from {table:Identifier} final
    )
select
    partner_id as subject,
    concat('replayed ', anyIf(says, is_replayed), ', published ', anyIf(says, not is_replayed)) as detail,
    count() over () as findings
from both
group by partner_id
having anyIf(says, is_replayed) != anyIf(says, not is_replayed) and max(both.round) <= {round:UInt64}
order by subject
limit {max_rows:UInt32}
