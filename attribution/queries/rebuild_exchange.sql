-- Put a rebuilt table in the place of the one that is read, as one step.
-- Parameters: rebuilt, and table, that one.
exchange tables {rebuilt:Identifier} and {table:Identifier}
