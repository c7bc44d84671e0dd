-- Who else claims this database's schema, and has given a sign of life lately.
-- Grain: one row per claim, the oldest first.
-- Parameters: own (the claim of who asks, or empty), seconds (after which a claim without a sign of life is dead).
select any(holder) as holder
from schema_claims
where toString(claim) != {own:String}
group by claim
having not max(is_ended) and max(said_at) > now64(3) - interval {seconds:UInt32} second
order by min(said_at)
