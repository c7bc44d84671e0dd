-- Licenses whose published binding is not what the rules give on the raw facts.
-- Grain: one row per license that differs; `findings` counts all of them.
-- Parameters: audit, round, max_rows.
with
    expected as (
        select license_id, partner_id, recruiter_id, click_id, toString(reason) as reason
        from audit_bindings
        where audit = {audit:UInt64}
    ),
    published as (
        select
            license_id,
            partner_id,
            recruiter_id,
            replaceOne(toString(click_id), '00000000-0000-0000-0000-000000000000', '') as click_id,
            toString(reason) as reason
        from binding_versions final
        where round <= {round:UInt64}
        order by license_id, round desc
        limit 1 by license_id
    )
select
    if(expected.license_id = '', published.license_id, expected.license_id) as subject,
    concat(
        'expected ', expected.partner_id, ' recruited by ', expected.recruiter_id,
        ' (', expected.reason, ' ', expected.click_id, '), published ', published.partner_id,
        ' recruited by ', published.recruiter_id, ' (', published.reason, ' ', published.click_id, ')'
    ) as detail,
    count() over () as findings
from expected
full outer join published on published.license_id = expected.license_id
where (expected.license_id, expected.partner_id, expected.recruiter_id, expected.click_id, expected.reason)
    != (published.license_id, published.partner_id, published.recruiter_id, published.click_id, published.reason)
order by subject
limit {max_rows:UInt32}
