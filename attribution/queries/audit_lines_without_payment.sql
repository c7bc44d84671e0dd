-- Published lines of money events that are not among the facts.
-- Grain: one row per money event; `findings` counts all of them.
-- Parameters: round, through_load, max_rows.
with
    both as (
        select concat('payment:', payment_id) as money_event_id, 1 as is_fact
        from payments
        where load_id <= {through_load:UInt64}
        union all
        select concat('refund:', refund_id) as money_event_id, 1 as is_fact
        from refunds
        where load_id <= {through_load:UInt64}
        union all
        select money_event_id, 0 as is_fact
        from ledger
        where round <= {round:UInt64}
    )
select
    money_event_id as subject,
    concat(toString(count()), ' lines of a payment or refund that is not among the facts') as detail,
    count() over () as findings
from both
group by money_event_id
having max(is_fact) = 0
order by subject
limit {max_rows:UInt32}
settings max_bytes_before_external_group_by = 500000000
