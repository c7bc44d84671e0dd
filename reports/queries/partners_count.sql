-- Purpose: how many partners have joined.
-- Grain: one row. Parameters: none.
select count() as partners
from partners
