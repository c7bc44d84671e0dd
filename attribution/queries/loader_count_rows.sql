-- How many rows of a fact table a load has stored.
-- Grain: one row. Parameters: table; load_id, the load's number.
select count() as stored
from {table:Identifier}
where load_id = {load_id:UInt64}
