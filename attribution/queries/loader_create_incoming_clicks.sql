-- Make the incoming table of clicks like the table that it feeds, so that the schema is written down once; but in types
-- that are read fast and strictly: a time is the journal's milliseconds, and texts become dictionaries when they are stored.
create table incoming_clicks
engine = Memory
empty as
select * replace (
    toUnixTimestamp64Milli(clicked_at) as clicked_at,
    cast(product as String) as product,
    cast(verdict as String) as verdict,
    cast(source as String) as source,
    cast(country as String) as country,
    cast(device as String) as device,
    cast(browser as String) as browser,
    cast(os as String) as os
)
from clicks
