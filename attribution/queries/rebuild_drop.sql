-- Drop the table that a rebuild fills beside the one that is read.
-- Parameters: rebuilt, that table.
drop table if exists {rebuilt:Identifier}
