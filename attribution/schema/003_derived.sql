-- Everything derived from the facts. Rows carry the `round` that wrote them. Readers see a round once it is in `rounds`:
-- of the ledger by `round <= (select max(round) from rounds)`; the other tables are filled right after it is published,
-- from the versions of 004_rounds.sql, and partner_spans from the standings of 006_rounds_in_sql.sql.

create table if not exists rounds
(
    round        UInt64,
    through_load UInt64,                  -- the newest load whose facts are in the results
    lines        UInt64,                  -- ledger lines written by this round
    published_at DateTime64(3, 'UTC')
)
engine = MergeTree order by round;

-- One row per license and change of its binding; the newest round counts.
create table if not exists bindings
(
    license_id         String,
    product            LowCardinality(String),
    started_at         DateTime64(3, 'UTC'),      -- signed_up_at or created_at
    origin             LowCardinality(String),    -- signup or solution
    payment_origin     LowCardinality(String),    -- client or partner, as created
    transferred_at     Nullable(DateTime64(3, 'UTC')),   -- R13: the client pays from here on
    data_center        LowCardinality(String),
    partner_id         String,                    -- empty when bound to nobody
    recruiter_id       String,                    -- empty when the partner has none
    click_id           UUID,                      -- nil unless a click won (R2)
    clicked_at         DateTime64(3, 'UTC'),
    click_product      LowCardinality(String),
    campaign           String,
    reason             LowCardinality(String),    -- last_touch, explicit_partner, solution_license, none, self_referral, partner_suspended
    rule               LowCardinality(String),    -- the rule that decided: R2, R3, R4, R5, R11
    round              UInt64
)
engine = ReplacingMergeTree(round) order by license_id;

-- One row per partner and change of their recruiter; the newest round counts.
create table if not exists recruitments
(
    partner_id   String,
    recruiter_id String,                          -- empty when nobody recruited them
    click_id     UUID,
    clicked_at   DateTime64(3, 'UTC'),
    reason       LowCardinality(String),          -- last_touch, explicit_partner, none, self_referral, partner_suspended
    rule         LowCardinality(String),
    round        UInt64
)
engine = ReplacingMergeTree(round) order by partner_id;

-- When each partner is active (R1, R11): spans [from, until). One row per partner; the newest round counts.
create table if not exists partner_spans
(
    partner_id String,
    spans      Array(Tuple(from DateTime64(3, 'UTC'), until DateTime64(3, 'UTC'))),
    round      UInt64
)
engine = ReplacingMergeTree(round) order by partner_id;

-- The ledger: append-only commission lines. What it should say is decided per money event (a payment or one of its
-- refunds), tier and partner; a line is the difference between that and what stood.
create table if not exists ledger
(
    entry_id           String,
    round              UInt64,
    posted_at          DateTime64(3, 'UTC'),
    occurred_at        DateTime64(3, 'UTC'),      -- the time of the money event
    partner_id         String,
    tier               UInt8,
    kind               LowCardinality(String),    -- commission, refund, chargeback, chargeback_won, correction
    money_event_id     String,                    -- 'payment:<payment_id>' or 'refund:<refund_id>'
    payment_id         String,
    license_id         String,
    referred_id        String,                    -- second tier: the partner whose license paid; else empty
    product            LowCardinality(String),
    basis_cents        Int64,                     -- what the percent was taken of; negative when money went back
    percent_hundredths UInt16,
    amount_cents       Int64,
    currency           LowCardinality(String),
    reason             String,                    -- why what the payment earned was corrected, or went to others; else empty
    index payment_bloom payment_id type bloom_filter granularity 1,
    index license_bloom license_id type bloom_filter granularity 1
)
engine = MergeTree
order by (partner_id, occurred_at, entry_id);

-- Licenses and partners that a round looks at again. Rows of old rounds are dropped when a round is published.
create table if not exists round_licenses
(
    round      UInt64,
    chunk      UInt32,
    license_id String
)
engine = MergeTree order by (round, chunk, license_id);
