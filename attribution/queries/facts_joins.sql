-- A partner with what decides who recruited them (R7).
-- Grain: one row, or none when the partner is not known.
-- Parameters: through_load, partner_id.
select
    partner_id,
    toUnixTimestamp64Milli(joined_at) as joined_at,
    email_hash,
    ifNull(toString(visitor_id), '') as visitor_id,
    recruiter_hint
from partners
where partner_id = {partner_id:String} and load_id <= {through_load:UInt64}
