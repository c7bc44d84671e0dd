-- Purpose: when the trials of `licenses` end that began with the licenses.
-- Grain: one row per license.
-- Parameters: trial_days (of a license that names none).
select license_id, ends_at from (include signup_trials)
union all
select license_id, addDays(created_at, ifNull(trial_days, {trial_days:UInt16})) as ends_at
from solution_licenses
where license_id in (select license_id from licenses)
