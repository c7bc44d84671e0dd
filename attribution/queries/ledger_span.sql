-- The newest load such that it and all before it are finished.
-- Grain: one row; 0 when no load after `after_load` is.
-- Parameters: after_load.
with
    streams as (
        select load_id, stream, max(is_finished) as is_finished
        from loads
        where load_id > {after_load:UInt64}
        group by load_id, stream
    ),
    loads_after as (
        select load_id, min(is_finished) as is_finished
        from streams
        group by load_id
    ),
    in_order as (
        select load_id, min(is_finished) over (order by load_id) as are_finished
        from loads_after
    )
select maxIf(load_id, are_finished = 1) as through_load
from in_order
