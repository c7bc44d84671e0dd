-- How many clicks may be touches.
-- Grain: one row. Parameters: since_ms, the window's begin, exclusive.
select count() as clicks
from clicks
where clicked_at > fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    and verdict = 'human'
