-- Purpose: how many licenses of a partner, and of the partners they referred, are trials or paid now.
-- Grain: one row per program (affiliate, solution; referred for those of referred partners) and product.
-- Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    referred as materialized (
        select partner_id
        from recruitments final
        where recruiter_id = {partner_id:String}
    ),
    owners as (
        select {partner_id:String} as partner_id
        union all
        select partner_id from referred
    ),
    licenses as materialized (
        select
            license_id,
            product,
            payment_origin,
            transferred_at,
            multiIf(partner_id != {partner_id:String}, 'referred', origin = 'solution', 'solution', 'affiliate') as program
        from partner_bindings final
        where partner_id in (select partner_id from owners) and is_current
    ),
    standings as (include license_standings)
select
    program,
    product,
    countIf(not is_expired and not has_paid) as trials,
    countIf(not is_expired and not has_paid and has_card) as trials_cc,
    countIf(not is_expired and has_paid) as paid
from standings
group by program, product
order by program, product
