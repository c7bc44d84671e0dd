-- What a round decided is current.
-- Grain: one row.
-- Parameters: round.
insert into round_applied
select {round:UInt64}
