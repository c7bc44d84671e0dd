-- The spans in which the partners are active whose standing a published round changed (R1): from the join and from every
-- reinstatement after it, to the next suspension.
-- Grain: one row per partner. Repeating it changes nothing.
-- Parameters: round.
insert into partner_spans (partner_id, spans, round)
with toDateTime64('2286-11-20 17:46:39.999', 3, 'UTC') as forever
select
    partner_id,
    arrayFilter(
        span -> span.1 < span.2,
        arrayZip(
            arrayMap(since -> greatest(since, joined_at), arrayConcat([joined_at], suspensions.until)),
            arrayConcat(suspensions.since, [forever])
        )
    ),
    round
from standings final
where round = {round:UInt64}
