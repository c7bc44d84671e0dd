-- Ask for the next round to decide everything again. What is published stays; should that round die, the next try does it.
-- Grain: one row, for the round after the published ones.
insert into rebuilds
select max(round) + 1
from rounds
