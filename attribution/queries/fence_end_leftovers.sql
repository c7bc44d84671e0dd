-- End the statements that were signed and are under way in this database, and wait until they have ended.
-- Parameters: signature.
kill query
where current_database = currentDatabase() and Settings['log_comment'] = {signature:String}
sync
