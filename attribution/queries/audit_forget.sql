-- Drop an audit's scratch.
-- Parameters: table, audit.
alter table {table:Identifier} drop partition {audit:UInt64}
