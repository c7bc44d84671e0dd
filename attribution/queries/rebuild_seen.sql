-- Ids and digests of the facts of one table, a page at a time.
-- Grain: one row per fact. Parameters: table; id, its id column; after, the last id of the page before; page_size.
select
    {id:Identifier} as id,
    digest
from {table:Identifier}
where {id:Identifier} > {after:String}
order by id
limit {page_size:UInt32}
