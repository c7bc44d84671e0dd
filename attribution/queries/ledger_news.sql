-- How many facts of each kind the new loads brought; of clicks only whether there are any.
-- Projections are off: new clicks are found by the ranges of load_id, which the one by visitor does not have.
-- Grain: one row.
-- Parameters: after_load, through_load.
select
    exists(select 1 from clicks where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}) as clicks,
    (select count() from partners where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}) as joins,
    (
        select count() from partner_events
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    ) as partner_events,
    (select count() from signups where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}) as signups,
    (
        select count() from solution_licenses
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    ) as solution_licenses,
    (
        select count() from license_transfers
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    ) as transfers,
    (select count() from payments where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}) as payments,
    (select count() from refunds where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}) as refunds
settings optimize_use_projections = 0
