-- How many licenses the round has decided or settled in its part (about, when there are many), and how many lines it wrote.
-- Grain: one row.
-- Parameters: round.
with
    looked_at as (
        select license_id from round_licenses
        union all
        select license_id from round_payments
    )
select
    (select uniq(license_id) from looked_at) as licenses,
    (select count() from ledger where round = {round:UInt64}) as lines
