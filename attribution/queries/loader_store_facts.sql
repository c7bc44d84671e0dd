-- Store the staged facts of one table whose id is not there yet; of equal ids in the load the first wins.
-- Grain: one row per id. Parameters: table; incoming, its incoming table; id, its id column; load_id.
insert into {table:Identifier}
with firsts as (
    select *
    from {incoming:Identifier}
    order by stream_number, position
    limit 1 by {id:Identifier}
)
select * except (stream_number, position) replace ({load_id:UInt64} as load_id)
from firsts
where {id:Identifier} not in (
    select {id:Identifier}
    from {table:Identifier}
    where {id:Identifier} in (select {id:Identifier} from {incoming:Identifier})
)
