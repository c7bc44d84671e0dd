-- What the ledger says of the licenses of a round's chunk, lines of an interrupted try of the round included.
-- Grain: one row per money event, tier, partner and referred partner.
-- Parameters: round, chunk.
select
    payment_id,
    money_event_id,
    tier,
    partner_id,
    referred_id,
    toUnixTimestamp64Milli(any(ledger.occurred_at)) as occurred_at,
    sum(ledger.amount_cents) as amount_cents,
    sum(ledger.basis_cents) as basis_cents,
    argMax(ledger.percent_hundredths, (ledger.round, ledger.entry_id)) as percent_hundredths,
    countIf(ledger.round = {round:UInt64}) as lines_of_round
from ledger
where license_id in (
    select license_id
    from round_licenses
    where round = {round:UInt64} and chunk = {chunk:UInt32}
)
group by payment_id, money_event_id, tier, partner_id, referred_id
