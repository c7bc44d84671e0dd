-- Rounds of attribution that are decided in SQL (docs/adr/0008-rounds-in-sql.md).

-- What the rules need to know of each known partner: when they joined, when they were suspended (R11: spans
-- [since, until)), and which rates of their own were in force when (R10: spans that do not overlap, in hundredths of a
-- percent). One row per partner; the newest round counts, published or not: only rounds read it.
create table if not exists standings
(
    partner_id  String,
    joined_at   DateTime64(3, 'UTC'),
    email_hash  String,
    suspensions Array(Tuple(since DateTime64(3, 'UTC'), until DateTime64(3, 'UTC'))),
    rates       Array(Tuple(
        since         DateTime64(3, 'UTC'),
        until         DateTime64(3, 'UTC'),
        first_percent  UInt16,
        second_percent UInt16
    )),
    round       UInt64
)
engine = ReplacingMergeTree(round) order by partner_id;

-- Signups and joins by visitor, so that a new click finds what it may decide without looking at all of them.
-- One row per license signed up for, and per partner who joined with a visitor id; rounds that died leave repeats.
create table if not exists moments
(
    visitor_id UUID,
    decides    LowCardinality(String),       -- license or partner
    id         String,
    moment     DateTime64(3, 'UTC')          -- signed_up_at or joined_at
)
engine = MergeTree order by visitor_id
settings index_granularity = 256;

-- Rounds that decide everything again, from the first load on. One row per asked rebuild and round.
create table if not exists rebuilds
(
    round UInt64
)
engine = MergeTree order by round;

-- A round of former versions did not fill the tables above: the next one decides everything.
insert into rebuilds
select max(round) + 1
from rounds
having max(round) > 0 and max(round) + 1 not in (select round from rebuilds);

-- What a round wrote is looked up by its number.
alter table ledger add index if not exists round_range round type minmax granularity 1;
alter table binding_versions add index if not exists round_range round type minmax granularity 1;
alter table recruitment_versions add index if not exists round_range round type minmax granularity 1;
alter table solution_licenses add index if not exists load_id_range load_id type minmax granularity 1;
alter table license_transfers add index if not exists load_id_range load_id type minmax granularity 1;

-- The newest round that was applied, so that it is not looked up again while ClickHouse runs.
create table if not exists round_applied
(
    round UInt64
)
engine = Memory;

-- The rest is the scratch of the round under way: in memory, for a round that dies begins anew.
drop table if exists round_changes;
drop table if exists round_touched;
drop table if exists round_partners;
drop table if exists round_licenses;
drop table if exists round_clicks;

-- Partners whose standing changed, and the earliest moment from which it may matter. One row per partner.
create table if not exists round_changes
(
    partner_id String,
    since      DateTime64(3, 'UTC')
)
engine = Memory;

-- Joins, licenses and payments of earlier loads that the new facts can touch, rather too many than too few; with repeats.
create table if not exists round_touched
(
    decides LowCardinality(String),          -- partner, license or payment
    id      String
)
engine = Memory;

-- Joins to decide: who recruited the partner (R7). One row per partner.
create table if not exists round_joins
(
    partner_id     String,
    joined_at      DateTime64(3, 'UTC'),
    email_hash     String,
    visitor_id     UUID,                     -- nil when not known
    recruiter_hint String
)
engine = Memory;

-- Licenses to decide: whom they belong to (R2 to R5). One row per license.
create table if not exists round_licenses
(
    license_id        String,
    product           LowCardinality(String),
    started_at        DateTime64(3, 'UTC'),
    origin            LowCardinality(String),
    payment_origin    LowCardinality(String),
    transferred_at    Nullable(DateTime64(3, 'UTC')),
    data_center       LowCardinality(String),
    creator_id        String,                -- empty unless a partner created it
    visitor_id        UUID,                  -- nil when not known
    partner_hint      String,
    client_email_hash String
)
engine = Memory;

-- Who brought each of the joins or licenses: R2, else R3. One row per partner or license.
create table if not exists round_brought
(
    id         String,
    partner_id String,                       -- empty for nobody
    click_id   UUID,                         -- nil without a click
    clicked_at DateTime64(3, 'UTC'),
    product    LowCardinality(String),
    campaign   String,
    reason     LowCardinality(String),
    rule       LowCardinality(String)
)
engine = Memory;

-- Payments to settle. One row per payment. `may_stand`: the ledger may say something of it already.
create table if not exists round_payments
(
    payment_id   String,
    license_id   String,
    paid_at      DateTime64(3, 'UTC'),
    amount_cents Int64,
    currency     LowCardinality(String),
    may_stand    UInt8
)
engine = Memory;

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
    amount_cents       Int64,
    may_stand          UInt8
)
engine = Memory;
