-- Dues are kept between two steps only for payments of which the ledger may say something already.
drop table if exists round_dues;

-- What the ledger should say of these payments. One row per money event, tier and partner; none of zero.
create table if not exists round_dues
(
    payment_id         String,
    license_id         String,
    product            LowCardinality(String),
    currency           LowCardinality(String),
    money_event_id     String,
    kind               LowCardinality(String),
    occurred_at        DateTime64(3, 'UTC'),
    tier               UInt8,
    partner_id         String,
    referred_id        String,
    basis_cents        Int64,
    percent_hundredths UInt16,
    amount_cents       Int64
)
engine = Memory;
