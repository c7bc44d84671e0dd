-- Every stored stage of a license.
-- Grain: one row per stored row of `license_events`.
select event_id, license_id, kind
from license_events
