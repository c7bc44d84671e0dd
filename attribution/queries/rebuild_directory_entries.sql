-- Directory entries of one kind as they were last, a page at a time; the value is empty where it was removed; times in ms.
-- Grain: one row per key. Parameters: kind; after, the last key of the page before; page_size.
select
    key as id,
    value,
    toUnixTimestamp64Milli(written_at) as written_at
from directory_entries final
where kind = {kind:String}
    and key > {after:String}
order by id
limit {page_size:UInt32}
