-- Who recruited each partner: who brought them, but never the partner themself (R7) nor one with their e-mail (R4).
-- Grain: one row per partner.
-- Parameters: audit, through_load, allow_self_referral.
insert into audit_recruiters (audit, partner_id, recruiter_id, reason)
with
    known as (
        select partner_id, email_hash
        from partners
        where load_id <= {through_load:UInt64}
    ),
    brought as (
        select id as joined_id, partner_id as source_id, reason
        from audit_sources
        where audit = {audit:UInt64} and decides = 'partner'
    ),
    judged as (
        select
            brought.joined_id as joined_id,
            brought.source_id as source_id,
            brought.reason as reason,
            brought.source_id != '' and (
                brought.source_id = brought.joined_id
                or (
                    {allow_self_referral:UInt8} = 0
                    and joining.email_hash != ''
                    and joining.email_hash = sources.email_hash
                )
            ) as is_self_referral
        from brought
        inner join known as joining on joining.partner_id = brought.joined_id
        left join known as sources on sources.partner_id = brought.source_id
    )
select
    {audit:UInt64},
    joined_id,
    if(is_self_referral, '', source_id),
    if(is_self_referral, 'self_referral', reason)
from judged
