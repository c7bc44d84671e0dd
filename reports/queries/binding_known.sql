-- Purpose: whether a published round has decided on a license yet.
-- Grain: one row when it has, none otherwise. Parameters: license_id.
select license_id
from bindings
where license_id = {license_id:String} and round <= (select max(round) from rounds)
limit 1
