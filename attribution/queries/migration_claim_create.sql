-- Who is applying schema files to this database: one row each time that a process says so, and one when it has ended.
create table if not exists schema_claims
(
    claim    UUID,
    holder   String,
    is_ended Bool,
    said_at  DateTime64(3, 'UTC') default now64(3)
)
engine = MergeTree order by claim ttl toDateTime(said_at) + interval 1 day
