-- The bindings that a published round changed become the current ones.
-- Grain: one row per license. Repeating it changes nothing.
-- Parameters: round.
insert into bindings
select *
from binding_versions final
where round = {round:UInt64}
settings optimize_on_insert = 0  -- final leaves nothing to merge
