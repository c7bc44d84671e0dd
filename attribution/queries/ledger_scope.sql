-- How much the round has to decide and to settle.
-- Grain: one row. `standing`: payments of which the ledger may say something already.
-- Parameters: none.
select
    (select count() from round_changes) as changes,
    (select count() from round_touched where decides = 'partner') as touched_joins,
    (select count() from round_touched where decides = 'license') as touched_licenses,
    (select count() from round_touched where decides = 'payment') as touched_payments,
    (select count() from round_joins) as joins,
    (select count() from round_licenses) as licenses,
    (select count() from round_payments) as payments,
    (select count() from round_payments where may_stand) as standing
