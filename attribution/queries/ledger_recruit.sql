-- R7: who recruited the partners of the joins to decide, where it is not what was decided before.
-- Grain: one row per partner.
-- Parameters: round, allow_self_referral.
insert into recruitment_versions (partner_id, recruiter_id, click_id, clicked_at, reason, rule, round)
with
    known as (
        select partner_id, email_hash
        from standings final
    ),
    judged as (  -- R7: never themself; R4: nor one with the same e-mail
        select
            joins.partner_id as partner_id,
            brought.partner_id as brought_by,
            brought.click_id as click_id,
            brought.clicked_at as clicked_at,
            brought.reason as reason,
            brought.rule as rule,
            brought_by != '' and brought_by = joins.partner_id as is_own,
            {allow_self_referral:UInt8} = 0
                and brought_by != ''
                and joins.email_hash != ''
                and joins.email_hash = known.email_hash as is_of_same_email
        from round_joins as joins
        inner join round_brought as brought on brought.id = joins.partner_id
        left join known on known.partner_id = brought.partner_id
    ),
    decided as (
        select
            partner_id,
            if(is_own or is_of_same_email, '', brought_by) as recruiter_id,
            click_id,
            clicked_at,
            if(is_own or is_of_same_email, 'self_referral', toString(reason)) as reason,
            multiIf(is_own, 'R7', is_of_same_email, 'R4', toString(rule)) as rule
        from judged
    ),
    before as (
        select *
        from recruitment_versions final
        where round <= {round:UInt64} and partner_id in (select partner_id from round_joins)
        order by round desc
        limit 1 by partner_id
    )
select
    decided.partner_id, decided.recruiter_id, decided.click_id, decided.clicked_at, decided.reason, decided.rule,
    {round:UInt64}
from decided
left join before on before.partner_id = decided.partner_id
where before.partner_id = ''
    or (decided.recruiter_id, decided.click_id, decided.clicked_at, decided.reason, decided.rule)
        != (before.recruiter_id, before.click_id, before.clicked_at, before.reason, before.rule)
