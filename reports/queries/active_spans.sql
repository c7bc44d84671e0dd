-- Purpose: when a partner is active (R1, R11).
-- Grain: one row per span [from_ms, until_ms). Parameters: partner_id.
with
    (
        select argMax(spans, round)
        from partner_spans
        where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
    ) as active
select toUnixTimestamp64Milli(span.1) as from_ms, toUnixTimestamp64Milli(span.2) as until_ms
from (select arrayJoin(active) as span)
