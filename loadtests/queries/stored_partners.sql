-- Every stored join.
-- Grain: one row per stored row of `partners`.
select
    partner_id,
    name,
    email,
    if(visitor_id is null, '', toString(visitor_id)) as visitor_id,
    recruiter_hint as recruiter_id,
    toUnixTimestamp64Milli(joined_at) as joined_at
from partners
