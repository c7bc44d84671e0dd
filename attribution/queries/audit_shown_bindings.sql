-- Licenses of which reports read another binding than the newest round that decided it has published, or none.
-- Grain: one row per license; `findings` counts all of them.
-- Parameters: round, max_rows.
with
    both as (
        select
            license_id as id,
            1 as is_published,
            argMax(partner_id, versions.round) as whose,
            argMax(cityHash64(toString(tuple(*))), versions.round) as content,
            max(versions.round) as newest
        from binding_versions as versions final
        where round <= {round:UInt64}
        group by id
        union all
        select
            license_id as id,
            0 as is_published,
            partner_id as whose,
            cityHash64(toString(tuple(*))) as content,
            round as newest
        from bindings final
    )
select
    id as subject,
    concat(
        'bound to ',
        if(anyIf(whose, is_published) = '', 'nobody', anyIf(whose, is_published)),
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
