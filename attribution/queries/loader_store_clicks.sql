-- Store the staged clicks, all of them: each has an id of its own that is not there yet.
-- Grain: one row per click. Parameters: load_id, the load's number.
insert into clicks
select * replace (fromUnixTimestamp64Milli(clicked_at, 'UTC') as clicked_at, {load_id:UInt64} as load_id)
from incoming_clicks
