-- Whether any partner is known.
-- Grain: one row, or none.
select partner_id
from partners
limit 1
