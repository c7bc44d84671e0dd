-- Licenses that reports about a partner show as theirs and the round published for another, or the other way round.
-- Grain: one row per license; `findings` counts all of them.
-- Parameters: round, max_rows.
with
    published as (
        select license_id, argMax(partner_id, round) as partner_id
        from binding_versions final
        where round <= {round:UInt64}
        group by license_id
    ),
    shown as (
        select license_id, arrayStringConcat(arraySort(groupArray(partner_id)), ', ') as partner_id, max(round) as newest
        from partner_bindings final
        where is_current
        group by license_id
    )
select
    if(published.license_id = '', shown.license_id, published.license_id) as subject,
    concat('bound to ', if(published.partner_id = '', 'nobody', published.partner_id),
        ', shown to ', if(shown.partner_id = '', 'nobody', shown.partner_id)) as detail,
    count() over () as findings
from published
full join shown on shown.license_id = published.license_id
where published.partner_id != shown.partner_id and shown.newest <= {round:UInt64}
order by subject
limit {max_rows:UInt32}
