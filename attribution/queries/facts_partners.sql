-- Known partners of a list.
-- Grain: one row per partner.
-- Parameters: through_load, partner_ids.
select
    partner_id,
    toUnixTimestamp64Milli(joined_at) as joined_at,
    email_hash
from partners
where partner_id in {partner_ids:Array(String)} and load_id <= {through_load:UInt64}
