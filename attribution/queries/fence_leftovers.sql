-- How many statements that were signed are under way in this database.
-- Grain: one row. Parameters: signature.
select count() as statements
from system.processes
where current_database = currentDatabase() and Settings['log_comment'] = {signature:String}
