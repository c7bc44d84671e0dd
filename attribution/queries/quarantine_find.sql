-- Quarantined pieces by id that were not put back.
-- Grain: one row per quarantined piece. Parameters: ids, quarantine ids.
select
    quarantine_id,
    stream,
    field,
    base64Encode(bytes) as bytes_base64
from quarantine
where quarantine_id in {ids:Array(String)}
    and quarantine_id not in (
        select quarantine_id
        from quarantine_replays
        where quarantine_id in {ids:Array(String)}
    )
order by quarantine_id
limit 1 by quarantine_id
