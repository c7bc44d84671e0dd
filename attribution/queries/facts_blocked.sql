-- Whether a license is held for fraud: the newest hold decides (R12).
-- Grain: one row.
-- Parameters: through_load, license_id.
select argMax(kind, (occurred_at, event_id)) = 'blocked' as is_blocked
from license_events
where license_id = {license_id:String} and kind in ('blocked', 'unblocked') and load_id <= {through_load:UInt64}
