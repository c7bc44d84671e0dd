-- Whom each license belongs to (R2–R5), whether it earns anybody anything (R4), and from when on the client pays (R13).
-- Grain: one row per license.
-- Parameters: audit, through_load, allow_self_referral.
insert into audit_bindings (
    audit, license_id, partner_id, recruiter_id, click_id, reason, earns, is_partner_paid, client_pays_from
)
with
    known as (
        select partner_id, email_hash
        from partners
        where load_id <= {through_load:UInt64}
    ),
    recruiters as (
        select partner_id, recruiter_id
        from audit_recruiters
        where audit = {audit:UInt64}
    ),
    created as (
        select license_id, partner_id, payment_origin, client_email_hash
        from solution_licenses
        where load_id <= {through_load:UInt64}
    ),
    transfers as (
        select license_id, min(occurred_at) as transferred_at
        from license_transfers
        where load_id <= {through_load:UInt64}
        group by license_id
    ),
    bound as (
        select
            signups.license_id as license_id,
            sources.partner_id as bound_id,
            sources.click_id as click_id,
            toString(sources.reason) as reason,
            0 as is_partner_paid,
            signups.client_email_hash as client_email_hash
        from signups
        inner join audit_sources as sources on sources.id = signups.license_id
        where sources.audit = {audit:UInt64}
            and sources.decides = 'license'
            and signups.load_id <= {through_load:UInt64}
            and signups.license_id not in (select license_id from created)
        union all
        select
            license_id, partner_id as bound_id, '' as click_id, 'solution_license' as reason,
            payment_origin = 'partner' as is_partner_paid, client_email_hash
        from created
    ),
    judged as (
        select
            bound.*,
            known.partner_id != '' as is_known,
            {allow_self_referral:UInt8} = 0
                and is_known
                and bound.client_email_hash != ''
                and bound.client_email_hash = known.email_hash as is_self_referral
        from bound
        left join known on known.partner_id = bound.bound_id
    )
select
    {audit:UInt64},
    judged.license_id,
    judged.bound_id,
    recruiters.recruiter_id,
    judged.click_id,
    if(judged.is_self_referral, 'self_referral', judged.reason),
    judged.is_known and not judged.is_self_referral,
    judged.is_partner_paid,
    if(transfers.license_id = '', toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), transfers.transferred_at)
from judged
left join recruiters on recruiters.partner_id = judged.bound_id
left join transfers on transfers.license_id = judged.license_id
