-- When licenses were moved to their clients (R13), a page at a time.
-- Grain: one row per license that was. Parameters: after, the last id of the page before; page_size.
select
    license_id as id,
    toUnixTimestamp64Milli(min(occurred_at)) as transferred_at
from license_transfers
where license_id > {after:String}
group by license_id
order by id
limit {page_size:UInt32}
