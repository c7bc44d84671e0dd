-- What a load has put into quarantine.
-- Grain: one row per quarantined piece. Parameters: load_id, the load's number.
select
    quarantine_id,
    stream,
    facts
from quarantine
where load_id = {load_id:UInt64}
