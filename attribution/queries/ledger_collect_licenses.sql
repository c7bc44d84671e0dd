-- The new licenses to decide. A license is of its creator, should it have been signed up for as well (R5).
-- Grain: one row per license of the part.
-- Parameters: after_load, through_load, parts, part (which of the parts, by the license's hash).
insert into round_licenses (
    license_id, product, started_at, origin, payment_origin, transferred_at, data_center, creator_id, visitor_id,
    partner_hint, client_email_hash
)
with
    new_ids as (
        select license_id
        from solution_licenses
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
        union all
        select license_id
        from signups
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    ),
    licenses as (
        select
            license_id, product, created_at as started_at, 'solution' as origin, payment_origin, data_center,
            partner_id as creator_id, cast(null as Nullable(UUID)) as visitor_id, '' as partner_hint, client_email_hash
        from solution_licenses
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
        union all
        select
            license_id, product, signed_up_at as started_at, 'signup' as origin, 'client' as payment_origin,
            data_center, '' as creator_id, visitor_id, partner_hint, client_email_hash
        from signups
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
            and license_id not in (
                select license_id
                from solution_licenses
                where load_id <= {through_load:UInt64}
                    and ({after_load:UInt64} = 0 or license_id in (select license_id from new_ids))
            )
    ),
    transfers as (
        select license_id, toNullable(min(occurred_at)) as transferred_at
        from license_transfers
        where load_id <= {through_load:UInt64}
            and ({after_load:UInt64} = 0 or license_id in (select license_id from new_ids))
        group by license_id
    )
select
    licenses.license_id,
    licenses.product,
    licenses.started_at,
    licenses.origin,
    licenses.payment_origin,
    transfers.transferred_at,
    licenses.data_center,
    licenses.creator_id,
    ifNull(licenses.visitor_id, toUUID('00000000-0000-0000-0000-000000000000')),
    licenses.partner_hint,
    licenses.client_email_hash
from licenses
left join transfers on transfers.license_id = licenses.license_id
where cityHash64(licenses.license_id) % {parts:UInt32} = {part:UInt32}
