-- Where rounds stand, and how far the next one can go: to the newest load such that it and all before it are finished.
-- Grain: one row. `is_whole`: the next round is to decide everything again. `was_begun`: it wrote lines, and died.
-- `is_applied`: what the published round decided is known to be current. `has_leftovers`: scratch is not empty.
-- Parameters: none.
with
    (select max(round) from rounds) as published,
    (select max(through_load) from rounds) as covered,
    streams as (
        select load_id, max(is_finished) as is_finished
        from loads
        where load_id > covered
        group by load_id, stream
    ),
    ahead as (
        select groupArray(load_id) as load_ids, minIf(load_id, not is_finished) as first_unfinished
        from streams
    )
select
    published as round,
    covered as covered_load,
    arrayMax([covered, arrayMax(
        arrayPushBack(arrayFilter(id -> first_unfinished = 0 or id < first_unfinished, load_ids), 0)
    )]) as through_load,
    published + 1 in (select round from rebuilds) as is_whole,
    (select count() from ledger where round > published) > 0 as was_begun,
    published in (select round from round_applied) as is_applied,
    (select count() from round_changes)
        + (select count() from round_touched)
        + (select count() from round_joins)
        + (select count() from round_licenses)
        + (select count() from round_brought)
        + (select count() from round_payments)
        + (select count() from round_dues) > 0 as has_leftovers
from ahead
