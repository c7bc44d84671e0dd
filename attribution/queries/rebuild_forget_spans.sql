-- Drop the spans of partners that a round over everything has not written again.
-- Parameters: round, that round.
alter table partner_spans
delete where round < {round:UInt64}
