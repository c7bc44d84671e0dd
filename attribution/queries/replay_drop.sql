-- Drop a replay's scratch database, and its files at once rather than minutes later.
-- Parameters: scratch.
drop database if exists {scratch:Identifier} sync
