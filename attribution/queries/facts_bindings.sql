-- Every binding that the licenses of the scope had up to and with a round: a round's chunk, or one license.
-- Grain: one row per license and version, newest first. Columns are those of `binding_versions`; times in ms.
-- Parameters: round, chunk, license_id ('' for the chunk's only).
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
where round <= {round:UInt64} and license_id in (
    select license_id
    from round_licenses
    where round = {round:UInt64} and chunk = {chunk:UInt32} and {license_id:String} = ''
    union distinct
    select {license_id:String}
)
order by license_id, round desc
