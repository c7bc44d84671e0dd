-- How many payments the round has to settle in its part.
-- Grain: one row. `standing`: payments of which the ledger may say something already. Parameters: none.
select
    count() as payments,
    countIf(may_stand) as standing
from round_payments
