-- Every stored signup, by the names of the Conversions API.
-- Grain: one row per stored row of `signups`.
select
    license_id,
    product,
    if(visitor_id is null, '', toString(visitor_id)) as visitor_id,
    partner_hint as partner_id,
    data_center,
    toUnixTimestamp64Milli(signed_up_at) as signed_up_at
from signups
