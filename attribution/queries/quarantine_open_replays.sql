-- Quarantined pieces that may come back in this load: those that no other load took back.
-- Grain: one row per quarantined piece. Parameters: ids, quarantine ids; load_id, this load's number.
select
    quarantine_id,
    max(facts) as facts
from quarantine
where quarantine_id in {ids:Array(String)}
    and quarantine_id not in (
        select quarantine_id
        from quarantine_replays
        where quarantine_id in {ids:Array(String)}
            and load_id <> {load_id:UInt64}
    )
group by quarantine_id
