-- Scratch of `lasttouch audit`: what the rules give on the raw facts. Rows carry the number of their audit and are
-- dropped when it ends; those of one that died go by themselves.

-- R2, else R3: who brought a signup or a join, before R4 and R7. One row per license signed up for, and per partner.
create table if not exists audit_sources
(
    audit      UInt64,
    decides    LowCardinality(String),    -- license or partner
    id         String,
    partner_id String,                    -- empty for nobody
    click_id   String,                    -- empty without a click
    reason     LowCardinality(String),
    written_at DateTime default now()
)
engine = MergeTree partition by audit order by (decides, id) ttl written_at + interval 1 day;

-- R7, R4: who recruited a partner. One row per partner.
create table if not exists audit_recruiters
(
    audit        UInt64,
    partner_id   String,
    recruiter_id String,                  -- empty for nobody
    reason       LowCardinality(String),
    written_at   DateTime default now()
)
engine = MergeTree partition by audit order by partner_id ttl written_at + interval 1 day;

-- R2 to R5 with R4 and R13: whom a license belongs to. One row per license.
create table if not exists audit_bindings
(
    audit            UInt64,
    license_id       String,
    partner_id       String,              -- empty for nobody
    recruiter_id     String,              -- empty for nobody
    click_id         String,              -- empty without a click
    reason           LowCardinality(String),
    earns            UInt8,               -- the partner is known, and not the client
    is_partner_paid  UInt8,
    client_pays_from DateTime64(3, 'UTC'),
    written_at       DateTime default now()
)
engine = MergeTree partition by audit order by license_id ttl written_at + interval 1 day;
