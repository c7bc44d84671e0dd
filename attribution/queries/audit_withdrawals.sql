-- Withdrawals of more than the partner's lines gave until they asked, less what the partner had asked for before and
-- was not refused by then (R18). Clocks may differ by a minute: what was posted or refused within one may have been there
-- or not, whichever allows more. What was blocked then is not looked at.
-- Grain: one row per withdrawal; `findings` counts all of them.
-- Parameters: round, max_rows.
with
    withdrawals as (
        select
            toUInt64(key) as number,
            JSONExtractString(value, 'partner_id') as partner_id,
            JSONExtractInt(value, 'requested_at') as requested_ms,
            JSONExtractInt(value, 'amount_cents') as amount_cents,
            if(JSONExtractString(value, 'status') = 'rejected', JSONExtractInt(value, 'settled_at'), null) as rejected_ms
        from directory_entries final
        where kind = 'withdrawal' and value != ''
    ),
    lines as (
        select partner_id, toUnixTimestamp64Milli(posted_at) as posted_ms, sum(amount_cents) as amount_cents
        from ledger
        where round <= {round:UInt64} and partner_id in (select partner_id from withdrawals)
        group by partner_id, posted_ms
    ),
    earned as (
        select
            withdrawals.number as number,
            sumIf(
                lines.amount_cents,
                lines.posted_ms <= withdrawals.requested_ms + if(lines.amount_cents > 0, 60000, -60000)
            ) as earned_cents
        from withdrawals
        left join lines on lines.partner_id = withdrawals.partner_id
        group by number
    ),
    taken as (
        select
            withdrawals.number as number,
            sumIf(
                earlier.amount_cents,
                earlier.number < withdrawals.number
                    and (earlier.rejected_ms is null or earlier.rejected_ms > withdrawals.requested_ms + 60000)
            ) as taken_cents
        from withdrawals
        inner join withdrawals as earlier on earlier.partner_id = withdrawals.partner_id
        group by number
    )
select
    toString(withdrawals.number) as subject,
    concat(
        withdrawals.partner_id, ' asked for ', toString(withdrawals.amount_cents), ' of ', toString(earned.earned_cents),
        ', and had taken ', toString(taken.taken_cents)
    ) as detail,
    count() over () as findings
from withdrawals
inner join earned on earned.number = withdrawals.number
inner join taken on taken.number = withdrawals.number
where withdrawals.amount_cents + taken.taken_cents > earned.earned_cents
order by withdrawals.number
limit {max_rows:UInt32}
