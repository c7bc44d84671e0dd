-- The newest published round, and what rounds left in their scratch tables.
-- Grain: one row. `unapplied` counts scratch of published rounds, `leftovers` of any.
-- Parameters: none.
with
    published as (
        select max(round) as round, max(through_load) as through_load
        from rounds
    ),
    scratch as (
        select round from round_changes
        union all
        select round from round_touched
    )
select
    any(published.round) as round,
    any(published.through_load) as through_load,
    countIf(scratch.round between 1 and published.round) as unapplied,
    countIf(scratch.round > 0) as leftovers
from published
left join scratch on true
