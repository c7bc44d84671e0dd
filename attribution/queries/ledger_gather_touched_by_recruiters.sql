-- Licenses of the partners whose recruiter is another since this round, or decided for the first time: they joined.
-- Grain: rows repeat.
-- Parameters: round.
insert into round_touched (decides, id)
select 'license', license_id
from bindings
where partner_id in (
    select partner_id
    from recruitment_versions
    where round = {round:UInt64}
)
