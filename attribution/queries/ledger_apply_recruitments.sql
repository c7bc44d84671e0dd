-- The recruiters that a published round changed become the current ones.
-- Grain: one row per partner. Repeating it changes nothing.
-- Parameters: round.
insert into recruitments
select *
from recruitment_versions final
where round = {round:UInt64}
