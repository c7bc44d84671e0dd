-- Purpose: how far readers can see: the newest published round, whether all that it decided is current, and the newest
--   finished load; and whether loads after `after_load` brought other facts than clicks.
-- Grain: one row. Parameters: after_load.
with (select max(round) from rounds) as published
select
    published as round,
    published = 0 or published in (select round from round_applied) as is_settled,
    maxIf(load_id, is_finished = 1) as newest_load,
    countIf(load_id > {after_load:UInt64} and stored > 0 and not match(stream, '^\\{c[0-9]+\\}')) > 0 as brought_facts
from loads
