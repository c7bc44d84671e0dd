-- What the published ledger gives on each payment.
-- Grain: one row per payment, tier and partner with any line.
select payment_id, tier, partner_id, sum(amount_cents) as net_cents
from ledger
where round <= (select max(round) from rounds)
group by payment_id, tier, partner_id
