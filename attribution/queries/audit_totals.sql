-- Whether the tiers of the published ledger add up to its headline.
-- Grain: one row.
-- Parameters: round.
select
    sum(amount_cents) as total_cents,
    sumIf(amount_cents, tier = 1) as first_tier_cents,
    sumIf(amount_cents, tier = 2) as second_tier_cents,
    count() as lines
from ledger
where round <= {round:UInt64}
