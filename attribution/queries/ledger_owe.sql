-- What the ledger should say of the payments of which it may say something already, to be compared with what it says.
-- Grain and parameters: as in parts/dues.sql.
insert into round_dues (
    payment_id, license_id, product, currency, money_event_id, kind, occurred_at, tier, partner_id, referred_id,
    basis_cents, percent_hundredths, amount_cents
)
select
    payment_id, license_id, product, currency, money_event_id, kind, occurred_at, tier, partner_id, referred_id,
    basis_cents, percent_hundredths, amount_cents
from (include dues)
