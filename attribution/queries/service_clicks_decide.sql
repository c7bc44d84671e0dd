-- How many human clicks of these loads may decide a signup or join of before: one by the same visitor is known to the rounds.
-- Projections are off: new clicks are found by the ranges of load_id, which the one by visitor does not have.
-- Grain: one row. Parameters: after_load, through_load.
with new_clicks as (
    select visitor_id
    from clicks
    where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64} and verdict = 'human'
)
select count() as clicks
from new_clicks
where visitor_id in (
    select visitor_id
    from moments
    where visitor_id in (select visitor_id from new_clicks)
)
settings optimize_use_projections = 0
