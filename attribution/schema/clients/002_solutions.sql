-- What is personal of solution licenses (R20), beside the names of their clients: organizations and operators.

alter table clients add column if not exists purchase_order String after company;

-- One row per organization and naming; the greatest version counts.
create table if not exists organizations
(
    organization_id String,
    name            String,
    client_name     String,
    client_email    String,
    identifier      String,               -- the partner's own reference
    version         UInt64,
    load_id         UInt64
)
engine = ReplacingMergeTree(version) order by organization_id;

-- One row per license and invited person; the greatest version counts.
create table if not exists operators
(
    license_id  String,
    operator_id String,                   -- keyed hash of the e-mail
    email       String,
    version     UInt64,
    load_id     UInt64
)
engine = ReplacingMergeTree(version) order by (license_id, operator_id);
