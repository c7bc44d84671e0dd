-- What is published: the newest round, and the newest load whose facts are in it.
-- Grain: one row; zeros before the first round.
-- Parameters: none.
select max(round) as round, argMax(through_load, rounds.round) as through_load
from rounds
