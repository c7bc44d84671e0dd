-- Whom the licenses to decide belong to, where it is not what was decided before.
-- Grain: one row per license.
-- Parameters: round, allow_self_referral.
insert into binding_versions (
    license_id, product, started_at, origin, payment_origin, transferred_at, data_center, partner_id, recruiter_id,
    click_id, clicked_at, click_product, campaign, reason, rule, round
)
with
    known as (
        select partner_id, email_hash
        from standings final
    ),
    recruiters as (
        select partner_id, argMax(recruiter_id, round) as recruiter_id
        from recruitment_versions final
        where round <= {round:UInt64}
        group by partner_id
    ),
    brought as (  -- R5: what a partner created is theirs; else R2 and R3
        select
            licenses.*,
            if(licenses.origin = 'solution', licenses.creator_id, brought.partner_id) as bound_id,
            brought.click_id as click_id,
            brought.clicked_at as clicked_at,
            brought.product as click_product,
            brought.campaign as campaign,
            if(licenses.origin = 'solution', 'solution_license', toString(brought.reason)) as brought_reason,
            if(licenses.origin = 'solution', 'R5', toString(brought.rule)) as brought_rule
        from round_licenses as licenses
        left join round_brought as brought on brought.id = licenses.license_id
    ),
    judged as (  -- R4: the e-mail is the partner's own
        select
            brought.*,
            {allow_self_referral:UInt8} = 0
                and brought.client_email_hash != ''
                and brought.client_email_hash = known.email_hash as is_self_referral
        from brought
        left join known on known.partner_id = brought.bound_id
    ),
    decided as (
        select
            judged.license_id as license_id,
            judged.product as product,
            judged.started_at as started_at,
            judged.origin as origin,
            judged.payment_origin as payment_origin,
            judged.transferred_at as transferred_at,
            judged.data_center as data_center,
            judged.bound_id as partner_id,
            recruiters.recruiter_id as recruiter_id,
            judged.click_id as click_id,
            judged.clicked_at as clicked_at,
            judged.click_product as click_product,
            judged.campaign as campaign,
            if(judged.is_self_referral, 'self_referral', judged.brought_reason) as reason,
            if(judged.is_self_referral, 'R4', judged.brought_rule) as rule
        from judged
        left join recruiters on recruiters.partner_id = judged.bound_id
    ),
    before as (
        select *
        from binding_versions final
        where round <= {round:UInt64} and license_id in (select license_id from round_licenses)
        order by round desc
        limit 1 by license_id
    )
select
    decided.license_id, decided.product, decided.started_at, decided.origin, decided.payment_origin,
    decided.transferred_at, decided.data_center, decided.partner_id, decided.recruiter_id, decided.click_id,
    decided.clicked_at, decided.click_product, decided.campaign, decided.reason, decided.rule, {round:UInt64}
from decided
left join before on before.license_id = decided.license_id
where before.license_id = ''
    or not (decided.transferred_at <=> before.transferred_at)
    or (
        decided.product, decided.started_at, decided.origin, decided.payment_origin, decided.data_center,
        decided.partner_id, decided.recruiter_id, decided.click_id, decided.clicked_at, decided.click_product,
        decided.campaign, decided.reason, decided.rule
    ) != (
        before.product, before.started_at, before.origin, before.payment_origin, before.data_center,
        before.partner_id, before.recruiter_id, before.click_id, before.clicked_at, before.click_product,
        before.campaign, before.reason, before.rule
    )
