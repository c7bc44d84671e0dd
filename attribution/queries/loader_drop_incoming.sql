-- Drop an incoming table that a dead load may have left.
-- Parameters: incoming, the incoming table.
drop table if exists {incoming:Identifier}
