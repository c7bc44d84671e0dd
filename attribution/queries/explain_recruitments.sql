-- Every recruiter that a partner had up to and with a round, newest first.
-- Grain: one row per version.
-- Parameters: round, partner_id.
select
    partner_id,
    recruiter_id,
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    reason,
    rule
from recruitment_versions final
where partner_id = {partner_id:String} and round <= {round:UInt64}
order by round desc
