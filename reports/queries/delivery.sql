-- Purpose: one delivery, as it was last.
-- Grain: one row, or none.
-- Parameters: kind (of deliveries' entries), delivery_id.
select value
from directory_entries final
where kind = {kind:String} and key = {delivery_id:String}
