-- How many joins the round has to decide.
-- Grain: one row. Parameters: none.
select count() as joins
from round_joins
