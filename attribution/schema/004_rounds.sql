-- What rounds of attribution keep beside their results.

-- Every binding that a license ever had: one row per license and round that changed it. `bindings` holds the newest of
-- the published ones. Explanations of old ledger lines and the reasons of corrections come from here.
create table if not exists binding_versions as bindings
engine = ReplacingMergeTree order by (license_id, round);

-- Every recruiter that a partner ever had: one row per partner and round that changed it.
create table if not exists recruitment_versions as recruitments
engine = ReplacingMergeTree order by (partner_id, round);

-- The rest is a round's scratch, emptied when the next one begins.

-- Partners whose standing changed, and the earliest moment from which it may matter. One row per partner.
create table if not exists round_changes
(
    round      UInt64,
    partner_id String,
    since      DateTime64(3, 'UTC')
)
engine = MergeTree order by (round, partner_id);

-- What the new facts can touch, rather too much than too little: licenses and partners' joins, with repeats.
create table if not exists round_touched
(
    round   UInt64,
    decides LowCardinality(String),          -- license or partner
    id      String
)
engine = MergeTree order by (round, decides, id);

-- Partners whose recruiter is decided again. One row per partner. Its like for licenses is `round_licenses`.
create table if not exists round_partners
(
    round      UInt64,
    chunk      UInt32,
    partner_id String
)
engine = MergeTree order by (round, chunk, partner_id);

-- Clicks that can win what the round decides again: per signup or join and partner, the newest human click in the
-- window of each of the partner's standings. `decides` is license or partner, `id` the license's or partner's id.
create table if not exists round_clicks
(
    round      UInt64,
    decides    LowCardinality(String),
    id         String,
    clicked_at DateTime64(3, 'UTC'),
    click_id   UUID,
    partner_id String,
    product    LowCardinality(String),
    campaign   String
)
engine = MergeTree order by (round, decides, id);

-- A line is looked up by its id to explain it.
alter table ledger add index if not exists entry_bloom entry_id type bloom_filter granularity 1;
