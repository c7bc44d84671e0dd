-- Deliveries that wait, and the newest ones whatever became of them, oldest first, a page at a time.
-- Grain: one row per delivery. Parameters: kind, of their entries; done_kept, how many of the newest; after, the last id
--   of the page before; page_size.
with newest as (
    select key
    from directory_entries final
    where kind = {kind:String}
    order by key desc
    limit {done_kept:UInt32}
)
select
    key as id,
    value
from directory_entries final
where kind = {kind:String}
    and key > {after:String}
    and (JSONExtractString(value, 'status') = 'waiting' or key >= (select min(key) from newest))
order by id
limit {page_size:UInt32}
