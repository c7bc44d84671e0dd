-- Purpose: how many partners joined through a partner.
-- Grain: one row.
-- Parameters: partner_id.
select count() as partners
from recruitments final
where recruiter_id = {partner_id:String}
