-- Earlier licenses and joins that new clicks can touch: a human click of their visitor in the window before them (R2).
-- Projections are off: new clicks are found by the ranges of load_id, which the one by visitor does not have.
-- Grain: rows repeat.
-- Parameters: after_load, through_load, window_ms.
insert into round_touched (decides, id)
with
    new_clicks as (
        select visitor_id, clicked_at
        from clicks
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64} and verdict = 'human'
    )
select moments.decides, moments.id
from moments
inner join new_clicks on new_clicks.visitor_id = moments.visitor_id
where moments.visitor_id in (select visitor_id from new_clicks)
    and new_clicks.clicked_at <= moments.moment
    and new_clicks.clicked_at >= moments.moment - toIntervalMillisecond({window_ms:Int64})
settings optimize_use_projections = 0
