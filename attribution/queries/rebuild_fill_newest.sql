-- The newest published version of each row.
-- Grain: one row per id. Parameters: rebuilt, the table to fill; versions, the table of versions; id, its id column.
insert into {rebuilt:Identifier}
select *
from {versions:Identifier}
where round <= (select max(round) from rounds)
order by round desc
limit 1 by {id:Identifier}
