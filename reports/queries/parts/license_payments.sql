-- Purpose: how often `licenses` were paid, when last, and for how long then.
-- Grain: one row per license that was paid.
select
    license_id,
    count() as payment_count,
    max(paid_at) as last_paid_at,
    argMax(billing_cycle, (paid_at, payment_id)) as last_cycle
from payments
where license_id in (select license_id from licenses)
group by license_id
