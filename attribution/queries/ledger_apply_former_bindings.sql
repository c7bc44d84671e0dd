-- The partners who had the licenses that a published round gave to others, or to nobody, have them no more.
-- Grain: one row per license and partner who had it. Repeating it changes nothing.
-- Parameters: round.
insert into partner_bindings
with former as (
    select *
    from binding_versions final
    where round < {round:UInt64} and partner_id != ''
        and license_id in (select license_id from binding_versions where round = {round:UInt64})
        and (license_id, partner_id) not in (
            select license_id, partner_id from binding_versions final where round = {round:UInt64}
        )
    order by round desc
    limit 1 by license_id, partner_id
)
select * replace ({round:UInt64} as round), 0 as is_current
from former
