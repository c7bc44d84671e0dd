-- Purpose: which stages `licenses` have reached by `now_at`, and when they expired.
-- Grain: one row per license that has an event.
select
    license_id,
    countIf(kind = 'qualified') > 0 as is_qualified,
    countIf(kind = 'card_added') > 0 as has_card,
    maxIf(occurred_at, kind = 'expired') as expired_at,
    argMaxIf(kind, (occurred_at, event_id), kind in ('blocked', 'unblocked')) = 'blocked' as is_blocked
from license_events
where license_id in (select license_id from licenses) and occurred_at <= now_at
group by license_id
