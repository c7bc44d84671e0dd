-- The payments to settle: new ones, those of the licenses that were decided, those of new refunds, and those that changed
-- standings can touch. The ledger can say something only of payments that earlier rounds have seen: `seen_load` is the
-- newest load of these.
-- Grain: one row per payment of the part.
-- Parameters: after_load, through_load, seen_load, parts, part (which of the parts, by the license's hash).
insert into round_payments (payment_id, license_id, paid_at, amount_cents, currency, may_stand)
with
    touched as (
        select id as payment_id
        from round_touched
        where decides = 'payment'
        union distinct
        select payment_id
        from refunds
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
    ),
    to_settle as (
        select *
        from payments
        where load_id > {after_load:UInt64} and load_id <= {through_load:UInt64}
        union all
        select *
        from payments
        where load_id <= {after_load:UInt64} and license_id in (select license_id from round_licenses)
        union all
        select *
        from payments
        where load_id <= {after_load:UInt64}
            and payment_id in (select payment_id from touched)
            and license_id not in (select license_id from round_licenses)
    )
select payment_id, license_id, paid_at, amount_cents, currency, load_id <= {seen_load:UInt64}
from to_settle
where cityHash64(license_id) % {parts:UInt32} = {part:UInt32}
