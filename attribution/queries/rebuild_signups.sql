-- Signups with their first answers, a page at a time.
-- Grain: one row per license. Parameters: after, the last id of the page before; page_size.
select
    license_id as id,
    product,
    client_email_hash,
    data_center,
    answered,
    digest
from signups
where license_id > {after:String}
order by id
limit {page_size:UInt32}
