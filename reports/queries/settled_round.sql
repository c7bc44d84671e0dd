-- Purpose: whether readers can see one round whole, where Redis does not say: all that the newest published one decided
--   is current.
-- Grain: one row. Parameters: none.
with (select max(round) from rounds) as published
select published as round, published = 0 or published in (select round from round_applied) as is_settled
