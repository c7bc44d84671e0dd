-- The joins that the round decides again, in chunks of `chunk_size`.
-- Grain: one row per partner.
-- Parameters: round, chunk_size.
insert into round_partners (round, chunk, partner_id)
with
    touched as (
        select distinct id
        from round_touched
        where round = {round:UInt64} and decides = 'partner'
    )
select {round:UInt64}, intDiv(row_number() over (order by id) - 1, {chunk_size:UInt32}), id
from touched
