-- Suspensions, reinstatements and rates of the partners of a list.
-- Grain: one row per event.
-- Parameters: through_load, partner_ids.
select
    event_id,
    partner_id,
    toUnixTimestamp64Milli(occurred_at) as occurred_at,
    kind,
    first_tier_percent_hundredths,
    second_tier_percent_hundredths,
    if(until is null, null, toUnixTimestamp64Milli(assumeNotNull(until))) as until
from partner_events
where partner_id in {partner_ids:Array(String)} and load_id <= {through_load:UInt64}
