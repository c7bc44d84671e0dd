-- Purpose: what `licenses` earned a partner themself, in rounds up to `published`.
-- Grain: one row per license with a line.
-- Parameters: partner_id.
select license_id, sum(amount_cents) as earned_cents
from ledger
where partner_id = {partner_id:String} and tier = 1 and round <= published
    and license_id in (select license_id from licenses)
group by license_id
