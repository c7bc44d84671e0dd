-- Licenses of which reports read another binding than the newest round that decided it has published, or none; or partners
-- of whom they read another recruiter.
-- Grain: one row per license or partner; `findings` counts all of them.
-- Parameters: round, max_rows; shown and versions, the tables; id and whose, columns of both; words, that say what they tell.
with
    both as (
        select
            {id:Identifier} as id,
            1 as is_published,
            argMax({whose:Identifier}, versions.round) as whose,
            argMax(cityHash64(toString(tuple(*))), versions.round) as content,
            max(versions.round) as newest
        from {versions:Identifier} as versions final
        where round <= {round:UInt64}
        group by id
        union all
        select
            {id:Identifier} as id,
            0 as is_published,
            {whose:Identifier} as whose,
            cityHash64(toString(tuple(*))) as content,
            round as newest
        from {shown:Identifier} final
    )
select
    id as subject,
    concat(
        {words:String},
        if(anyIf(whose, is_published) = '', ' nobody', concat(' ', anyIf(whose, is_published))),
        ', shown as ',
        multiIf(
            countIf(not is_published) = 0, 'nothing',
            anyIf(whose, not is_published) = '', 'nobody''s',
            anyIf(whose, not is_published) = anyIf(whose, is_published), 'theirs, but otherwise',
            anyIf(whose, not is_published)
        )
    ) as detail,
    count() over () as findings
from both
group by id
having anyIf(content, is_published) != anyIf(content, not is_published) and max(newest) <= {round:UInt64}
order by subject
limit {max_rows:UInt32}
