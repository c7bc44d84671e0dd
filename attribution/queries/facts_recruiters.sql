-- Who recruited the partners of a list, as decided up to and with round `round`.
-- Grain: one row per partner.
-- Parameters: round, partner_ids.
select
    partner_id,
    recruiter_id,
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    reason,
    rule
from recruitment_versions final
where partner_id in {partner_ids:Array(String)} and round <= {round:UInt64}
order by partner_id, round desc
limit 1 by partner_id
