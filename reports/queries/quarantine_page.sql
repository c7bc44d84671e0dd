-- Purpose: what could not be understood and was not put back, newest first.
-- Grain: one row per quarantined piece of a journal entry.
-- Parameters: before_ms and before_id (the page starts after this piece), most (rows to read).
select
    quarantine_id,
    stream,
    entry_id,
    field,
    line,
    facts,
    base64Encode(bytes) as bytes_base64,
    reason,
    toUnixTimestamp64Milli(quarantined_at) as quarantined_ms
from quarantine
where quarantine_id not in (select quarantine_id from quarantine_replays)
    and (quarantined_at, quarantine_id) < (fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC'), {before_id:String})
order by quarantined_at desc, quarantine_id desc
limit {most:UInt32}
