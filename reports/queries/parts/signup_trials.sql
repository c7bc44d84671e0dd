-- Purpose: when the trials of those of `licenses` end that came by a signup: after the days that it says, else its deal.
-- Grain: one row per license.
-- Parameters: trial_days (of a license that names none).
select
    license_id,
    addDays(
        signed_up_at,
        coalesce(trial_days, nullIf(JSONExtractUInt(answered, 'deal', 'trial_days'), 0), {trial_days:UInt16})
    ) as ends_at
from signups
where license_id in (select license_id from licenses)
