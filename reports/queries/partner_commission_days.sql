-- Purpose: a partner's commission by day, for reports and metrics of the Partner API. Seen as all that was earned, the
--   second tier is the affiliate program's product partner_program; seen as what referred partners brought in, it has
--   the program and product of the license that paid.
-- Grain: one row per day (UTC) that has lines.
-- Parameters: partner_id, from_ms and to_ms (of occurred_at: inclusive, exclusive), product and program (empty for all),
--   referred (1: only what referred partners brought in).
with
    lines as (
        select tier, license_id, product, occurred_at, amount_cents
        from ledger
        where partner_id = {partner_id:String} and round <= (select max(round) from rounds)
            and occurred_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
            and occurred_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
            and ({referred:UInt8} = 0 or tier = 2)
    ),
    created as (
        select license_id
        from solution_licenses
        where {program:String} != '' and license_id in (select license_id from lines)
    ),
    named as (
        select
            occurred_at,
            amount_cents,
            tier = 2 and {referred:UInt8} = 0 as is_brought,
            if(is_brought, 'partner_program', product) as earned_with,
            if(not is_brought and license_id in (select license_id from created), 'solution', 'affiliate') as program
        from lines
    )
select toString(toDate32(occurred_at, 'UTC')) as day_text, sum(amount_cents) as commission_cents
from named
where ({product:String} = '' or earned_with = {product:String})
    and ({program:String} = '' or program = {program:String})
group by day_text
order by day_text
