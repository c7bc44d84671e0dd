-- Solution licenses, a page at a time.
-- Grain: one row per license. Parameters: after, the last id of the page before; page_size.
select
    license_id as id,
    partner_id,
    product,
    payment_origin,
    toUnixTimestamp64Milli(created_at) as created_at,
    client_email_hash,
    data_center,
    digest
from solution_licenses
where license_id > {after:String}
order by id
limit {page_size:UInt32}
