-- Solution licenses, a page at a time, each with the newest change of its subscription (`changes` is 0 without one).
-- Grain: one row per license. Parameters: after, the last id of the page before; page_size.
with
    page as (
        select license_id, partner_id, product, payment_origin, created_at, client_email_hash, data_center, trial_days,
            digest
        from solution_licenses
        where license_id > {after:String}
        order by license_id
        limit {page_size:UInt32}
    ),
    newest_changes as (
        select *
        from subscription_events
        where license_id in (select license_id from page)
        order by number desc, event_id desc
        limit 1 by license_id
    )
select
    page.license_id as id,
    page.partner_id as partner_id,
    page.product as product,
    page.payment_origin as payment_origin,
    toUnixTimestamp64Milli(page.created_at) as created_at,
    page.client_email_hash as client_email_hash,
    page.data_center as data_center,
    page.trial_days as trial_days,
    page.digest as digest,
    newest_changes.number as changes,
    newest_changes.event_id as change_id,
    newest_changes.kind as change_kind,
    toUnixTimestamp64Milli(newest_changes.occurred_at) as changed_at,
    newest_changes.plan as plan,
    newest_changes.billing_cycle as billing_cycle,
    newest_changes.seats as seats,
    toUnixTimestamp64Milli(newest_changes.started_at) as started_at,
    toUnixTimestamp64Milli(newest_changes.closes_at) as closes_at
from page
left any join newest_changes on newest_changes.license_id = page.license_id
order by id
