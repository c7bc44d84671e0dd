-- What is published: the newest round, and the newest load whose facts are in it.
-- Grain: one row.
-- Parameters: none.
select max(round) as round, max(through_load) as through_load
from rounds
