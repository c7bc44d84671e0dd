-- Every fact ever accepted. One row per fact; ids are unique because the loader checks them before it writes.
-- `load_id` numbers the load that brought the row: rounds of attribution start from it.
-- Times have milliseconds, in UTC. Money is integer cents. Percents are hundredths of a percent.

create table if not exists clicks
(
    click_id      UUID,
    clicked_at    DateTime64(3, 'UTC') codec(Delta, ZSTD),
    visitor_id    UUID,                    -- the nil UUID when the visitor opted out
    partner_id    String,
    product       LowCardinality(String),
    campaign      String,
    verdict       LowCardinality(String),  -- human, bot, prefetch, head, opted-out: the request's part of R1
    source        LowCardinality(String),  -- redirect, touch, import
    country       LowCardinality(String),
    device        LowCardinality(String),
    browser       LowCardinality(String),
    os            LowCardinality(String),
    user_agent    String codec(ZSTD(3)),
    referrer      String codec(ZSTD(3)),
    landing_query String codec(ZSTD(3)),
    ip_prefix     String,
    load_id       UInt64 codec(Delta, ZSTD),
    index load_id_range load_id type minmax granularity 1,
    projection by_visitor (
        select visitor_id, clicked_at, click_id, partner_id, product, campaign, verdict, load_id
        order by visitor_id, clicked_at
    )
)
engine = MergeTree
partition by toYYYYMM(clicked_at)
order by (partner_id, clicked_at, click_id);

create table if not exists partners
(
    partner_id     String,
    joined_at      DateTime64(3, 'UTC'),
    name           String,
    email          String,
    email_hash     String,
    visitor_id     Nullable(UUID),
    recruiter_hint String,
    links          String,                 -- JSON object: product → short code
    answered       String,                 -- the first answer, as sent
    digest         String,
    load_id        UInt64
)
engine = MergeTree order by partner_id;

create table if not exists signups
(
    license_id          String,
    signed_up_at        DateTime64(3, 'UTC'),
    product             LowCardinality(String),
    visitor_id          Nullable(UUID),
    partner_hint        String,
    client_email_hash   String,
    client_email_masked String,
    data_center         LowCardinality(String),
    plan                LowCardinality(String),
    seats               Nullable(UInt32),
    trial_days          Nullable(UInt16),
    answered            String,
    digest              String,
    load_id             UInt64,
    index load_id_range load_id type minmax granularity 1,
    index visitor_id_bloom visitor_id type bloom_filter granularity 1
)
engine = MergeTree order by license_id;

create table if not exists solution_licenses
(
    license_id          String,
    created_at          DateTime64(3, 'UTC'),
    product             LowCardinality(String),
    partner_id          String,
    payment_origin      LowCardinality(String),   -- client or partner
    client_email_hash   String,
    client_email_masked String,
    data_center         LowCardinality(String),
    digest              String,
    load_id             UInt64
)
engine = MergeTree order by license_id;

create table if not exists license_transfers
(
    event_id    String,
    license_id  String,
    occurred_at DateTime64(3, 'UTC'),
    digest      String,
    load_id     UInt64
)
engine = MergeTree order by (license_id, event_id);

create table if not exists payments
(
    payment_id     String,
    license_id     String,
    paid_at        DateTime64(3, 'UTC'),
    amount_cents   Int64,
    currency       LowCardinality(String),
    discount_cents Nullable(Int64),
    method         LowCardinality(String),
    digest         String,
    load_id        UInt64,
    index load_id_range load_id type minmax granularity 1,
    index payment_id_bloom payment_id type bloom_filter granularity 1
)
engine = MergeTree order by (license_id, payment_id);

create table if not exists refunds
(
    refund_id    String,
    payment_id   String,
    refunded_at  DateTime64(3, 'UTC'),
    amount_cents Int64,
    kind         LowCardinality(String),   -- refund, chargeback, chargeback_won
    digest       String,
    load_id      UInt64,
    index load_id_range load_id type minmax granularity 1
)
engine = MergeTree order by (payment_id, refund_id);

create table if not exists license_events
(
    event_id    String,
    license_id  String,
    occurred_at DateTime64(3, 'UTC'),
    kind        LowCardinality(String),    -- qualified, card_added, expired, blocked, unblocked
    digest      String,
    load_id     UInt64
)
engine = MergeTree order by (license_id, event_id);

create table if not exists partner_events
(
    event_id                       String,
    partner_id                     String,
    occurred_at                    DateTime64(3, 'UTC'),
    kind                           LowCardinality(String),   -- suspended, reinstated, rate_changed
    first_tier_percent_hundredths  Nullable(UInt16),
    second_tier_percent_hundredths Nullable(UInt16),
    until                          Nullable(DateTime64(3, 'UTC')),
    digest                         String,
    load_id                        UInt64
)
engine = MergeTree order by (partner_id, event_id);

-- What partners keep in the directory, and deliveries, as they were last: newest `written_at` per key wins.
-- They are not facts of the program's rules; they are kept so that Redis's directory can be rebuilt.
create table if not exists directory_entries
(
    kind       LowCardinality(String),    -- the kinds of tracker/redis_keys.py, KEPT, and delivery
    key        String,
    value      String,                    -- JSON, or empty when removed
    written_at DateTime64(3, 'UTC'),
    load_id    UInt64
)
engine = ReplacingMergeTree(written_at) order by (kind, key);
