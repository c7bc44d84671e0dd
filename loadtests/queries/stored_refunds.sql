-- Every stored refund, chargeback and won dispute.
-- Grain: one row per stored row of `refunds`.
select refund_id, payment_id, amount_cents, kind
from refunds
