-- Partners whose standing a round found changed.
-- Grain: one row per partner.
-- Parameters: round.
select partner_id
from round_changes
where round = {round:UInt64}
order by partner_id
