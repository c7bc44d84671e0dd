-- Purpose: the licenses that are a partner's, by the day on which they began.
-- Grain: one row per day. Parameters: partner_id.
select toString(toDate32(started_at, 'UTC')) as day_text, count() as signups
from partner_bindings final
where partner_id = {partner_id:String} and is_current
group by day_text
