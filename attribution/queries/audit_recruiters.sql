-- Partners whose published recruiter is not what the rules give on the raw facts.
-- Grain: one row per partner that differs; `findings` counts all of them.
-- Parameters: audit, round, max_rows.
with
    expected as (
        select partner_id, recruiter_id, toString(reason) as reason
        from audit_recruiters
        where audit = {audit:UInt64}
    ),
    published as (
        select partner_id, recruiter_id, toString(reason) as reason
        from recruitment_versions final
        where round <= {round:UInt64}
        order by partner_id, round desc
        limit 1 by partner_id
    )
select
    if(expected.partner_id = '', published.partner_id, expected.partner_id) as subject,
    concat(
        'expected ', expected.recruiter_id, ' (', expected.reason,
        '), published ', published.recruiter_id, ' (', published.reason, ')'
    ) as detail,
    count() over () as findings
from expected
full outer join published on published.partner_id = expected.partner_id
where (expected.partner_id, expected.recruiter_id, expected.reason)
    != (published.partner_id, published.recruiter_id, published.reason)
order by subject
limit {max_rows:UInt32}
