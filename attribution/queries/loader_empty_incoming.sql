-- Empty an incoming table once its rows are stored.
-- Parameters: incoming, the incoming table.
truncate table {incoming:Identifier}
