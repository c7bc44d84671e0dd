-- Purpose: when a partner is active (R1, R11).
-- Grain: one row per span [from_ms, until_ms). Parameters: partner_id.
select toUnixTimestamp64Milli(span.1) as from_ms, toUnixTimestamp64Milli(span.2) as until_ms
from (select arrayJoin(spans) as span from partner_spans final where partner_id = {partner_id:String})
