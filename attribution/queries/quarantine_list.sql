-- What is in quarantine and was not put back, oldest first. The bytes are in base 64, for they may be anything.
-- Grain: one row per quarantined piece. Parameters: row_limit.
select
    quarantine_id,
    stream,
    entry_id,
    field,
    line,
    facts,
    base64Encode(bytes) as bytes_base64,
    reason,
    toUnixTimestamp64Milli(quarantined_at) as quarantined_at
from quarantine
where quarantine_id not in (select quarantine_id from quarantine_replays)
order by
    quarantined_at,
    stream,
    entry_id,
    line
limit 1 by quarantine_id
limit {row_limit:UInt32}
