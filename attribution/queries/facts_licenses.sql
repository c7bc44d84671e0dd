-- A license with what decides whom it belongs to. It is of its creator, should both facts exist (R5).
-- Grain: one row, or none when the license is not known.
-- Parameters: through_load, license_id.
with
    transfers as (
        select license_id, min(occurred_at) as transferred_at
        from license_transfers
        where license_id = {license_id:String} and load_id <= {through_load:UInt64}
        group by license_id
    ),
    created as (
        select
            license_id, product, created_at, partner_id, payment_origin, data_center,
            client_email_hash, client_email_masked
        from solution_licenses
        where license_id = {license_id:String} and load_id <= {through_load:UInt64}
    ),
    licenses as (
        select
            license_id, product, created_at as started_at, 'solution' as origin, data_center,
            '' as visitor_id, '' as partner_hint, partner_id as creator_id, payment_origin,
            client_email_hash, client_email_masked
        from created
        union all
        select
            license_id, product, signed_up_at as started_at, 'signup' as origin, data_center,
            ifNull(toString(visitor_id), '') as visitor_id, partner_hint, '' as creator_id, 'client' as payment_origin,
            client_email_hash, client_email_masked
        from signups
        where license_id = {license_id:String}
            and license_id not in (select license_id from created)
            and load_id <= {through_load:UInt64}
    )
select
    licenses.license_id as license_id,
    licenses.product as product,
    toUnixTimestamp64Milli(licenses.started_at) as started_at,
    licenses.origin as origin,
    licenses.data_center as data_center,
    licenses.visitor_id as visitor_id,
    licenses.partner_hint as partner_hint,
    licenses.creator_id as creator_id,
    licenses.payment_origin as payment_origin,
    licenses.client_email_hash as client_email_hash,
    licenses.client_email_masked as client_email_masked,
    if(transfers.license_id = '', null, toUnixTimestamp64Milli(transfers.transferred_at)) as transferred_at
from licenses
left join transfers on transfers.license_id = licenses.license_id
