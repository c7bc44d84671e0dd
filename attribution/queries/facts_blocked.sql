-- Whether a license is held for fraud now: the newest hold decides (R12). Holds count from their load on, as in balances:
-- no round waits for them.
-- Grain: one row.
-- Parameters: license_id.
select argMax(kind, (occurred_at, event_id)) = 'blocked' as is_blocked
from license_events
where license_id = {license_id:String} and kind in ('blocked', 'unblocked') and occurred_at <= now64(3, 'UTC')
