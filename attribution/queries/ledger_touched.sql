-- How many standings changed, and how many earlier joins, licenses and payments the new facts can touch, with repeats.
-- Grain: one row. Parameters: none.
select
    (select count() from round_changes) as changes,
    countIf(decides = 'partner') as touched_joins,
    countIf(decides = 'license') as touched_licenses,
    countIf(decides = 'payment') as touched_payments
from round_touched
