-- Purpose: a partner's commission by program and product. The second tier is the affiliate program's product
--   partner_program; of the first tier, licenses that the partner created are the solution program's.
-- Grain: one row per program and product that has lines.
-- Parameters: partner_id, since_ms (of occurred_at, for what was earned lately).
with
    lines as (
        select tier, license_id, product, occurred_at, amount_cents
        from ledger
        where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
    ),
    created as (
        select license_id
        from solution_licenses
        where license_id in (select license_id from lines where tier = 1)
    )
select
    if(tier = 1 and license_id in (select license_id from created), 'solution', 'affiliate') as program,
    if(tier = 2, 'partner_program', product) as earned_with,
    sum(amount_cents) as commission_cents,
    sumIf(amount_cents, occurred_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')) as lately_cents
from lines
group by program, earned_with
order by program, earned_with
