-- Clients' records of one type as they were written last, in the store of a data center.
-- Grain: one row per record. Parameters: table; key, its first column; ids, values of it.
select *
from {table:Identifier} final
where {key:Identifier} in {ids:Array(String)}
