-- Purpose: whether the warehouse answers, and how far attribution has come (health pages).
-- Grain: one row. Parameters: none.
select
    max(round) as round,
    max(through_load) as through_load,
    sum(lines) as lines,
    toUnixTimestamp64Milli(max(published_at)) as published_at
from rounds
