-- Every client that a data center's store knows.
-- Grain: one row per license, its newest naming.
select license_id, email as client_email, name as client_name
from clients final
