-- The published lines of a money event, tier and partner.
-- Grain: one row per line, oldest first, at most 20.
-- Parameters: round, payment_id, money_event_id, tier, partner_id.
select entry_id, round, kind, amount_cents
from ledger
where partner_id = {partner_id:String}
    and payment_id = {payment_id:String}
    and money_event_id = {money_event_id:String}
    and tier = {tier:UInt8}
    and round <= {round:UInt64}
order by round, entry_id
limit 20
