-- Every stored payment.
-- Grain: one row per stored row of `payments`.
select payment_id, license_id, amount_cents, currency
from payments
