-- Make an incoming table like the table that it feeds, so that the schema is written down once.
-- Parameters: incoming, the incoming table; table, the table that it feeds.
create table {incoming:Identifier}
engine = Memory
empty as
select
    toUInt16(0) as stream_number,
    toUInt32(0) as position,
    *
from {table:Identifier}
