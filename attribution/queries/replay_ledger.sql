-- Where the published ledger comes to something else than the replayed one.
-- Grain: one row per money event, tier, partner and referred partner that differs; `findings` counts all of them.
-- Parameters: replayed (the scratch database), round, max_rows.
with
    both as (
        select money_event_id, payment_id, license_id, tier, partner_id, referred_id, amount_cents, true as is_replayed
        from {replayed:Identifier}.ledger
        union all
        select money_event_id, payment_id, license_id, tier, partner_id, referred_id, amount_cents, false as is_replayed
        from ledger
        where round <= {round:UInt64}
    )
select
    money_event_id as subject,
    concat(
        'payment ', payment_id, ' of ', license_id, ', tier ', toString(tier), ', ', partner_id,
        if(referred_id = '', '', concat(' for ', referred_id)),
        ': replayed ', toString(sumIf(amount_cents, is_replayed)),
        ', published ', toString(sumIf(amount_cents, not is_replayed)), ' cents'
    ) as detail,
    count() over () as findings
from both
group by money_event_id, payment_id, license_id, tier, partner_id, referred_id
having sumIf(amount_cents, is_replayed) != sumIf(amount_cents, not is_replayed)
order by subject, tier, partner_id
limit {max_rows:UInt32}
settings max_bytes_before_external_group_by = 500000000
