-- Purpose: a partner's commission by tier, by the day of the money event.
-- Grain: one row per day. Parameters: partner_id.
select
    toString(toDate32(occurred_at, 'UTC')) as day_text,
    sumIf(amount_cents, tier = 1) as first_tier_cents,
    sumIf(amount_cents, tier = 2) as second_tier_cents
from ledger
where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
group by day_text
