-- The bindings that a published round changed become the current ones of their partners.
-- Grain: one row per license that is somebody's. Repeating it changes nothing.
-- Parameters: round.
insert into partner_bindings
select *, 1 as is_current
from binding_versions final
where round = {round:UInt64} and partner_id != ''
settings optimize_on_insert = 0  -- final leaves nothing to merge
