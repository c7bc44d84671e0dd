-- Every binding that a license had up to and with a round.
-- Grain: one row per version, newest first. Columns are those of `binding_versions`; times in ms.
-- Parameters: round, license_id.
select
    license_id,
    product,
    toUnixTimestamp64Milli(started_at) as started_at,
    origin,
    payment_origin,
    if(transferred_at is null, null, toUnixTimestamp64Milli(assumeNotNull(transferred_at))) as transferred_at,
    data_center,
    partner_id,
    recruiter_id,
    toString(click_id) as click_id,
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    click_product,
    campaign,
    reason,
    rule,
    round
from binding_versions final
where license_id = {license_id:String} and round <= {round:UInt64}
order by round desc
