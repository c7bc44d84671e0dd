-- How many clicks may be on paths that end in a period.
-- Grain: one row.
-- Parameters: from_ms and to_ms (of the paths' ends: inclusive, exclusive), window_ms.
select count() as clicks
from clicks
where verdict = 'human'
    and clicked_at >= fromUnixTimestamp64Milli(greatest(0, {from_ms:Int64} - {window_ms:Int64}), 'UTC')
    and clicked_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
