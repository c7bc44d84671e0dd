-- The licenses that the round decides again, in chunks of `chunk_size` that are ranges of ids.
-- Grain: one row per license.
-- Parameters: round, chunk_size.
insert into round_licenses (round, chunk, license_id)
with
    touched as (
        select distinct id
        from round_touched
        where round = {round:UInt64} and decides = 'license'
    )
select {round:UInt64}, intDiv(row_number() over (order by id) - 1, {chunk_size:UInt32}), id
from touched
