-- Lines that make the ledger say what is due of payments of which it may say something already. A line is natural where
-- nothing stood yet for its money event and tier, and else a correction with a reason (R16, R17). A natural line has a
-- reason too when the payment had earned before and now earns for others.
-- Grain: one row per line.
-- Parameters: round, posted_at_ms, id_prefix (how every entry id begins: its time, as UUIDs of version 7 have it).
insert into ledger (
    entry_id, round, posted_at, occurred_at, partner_id, tier, kind, money_event_id, payment_id, license_id,
    referred_id, product, basis_cents, percent_hundredths, amount_cents, currency, reason
)
with
    posted as (  -- what the ledger says, lines of an interrupted try of this round included
        select
            payment_id, license_id, money_event_id, tier, partner_id, referred_id,
            any(ledger.currency) as currency,
            any(ledger.occurred_at) as occurred_at,
            sum(ledger.basis_cents) as basis_cents,
            argMax(ledger.percent_hundredths, (ledger.round, ledger.entry_id)) as percent_hundredths,
            sum(ledger.amount_cents) as amount_cents
        from ledger
        where payment_id in (select payment_id from round_payments where may_stand)
        group by payment_id, license_id, money_event_id, tier, partner_id, referred_id
    ),
    stood as (  -- what it said before this round
        select payment_id, money_event_id, tier
        from ledger
        where payment_id in (select payment_id from round_payments where may_stand) and round < {round:UInt64}
    ),
    both as (
        select
            payment_id, license_id, money_event_id, tier, partner_id, referred_id, currency, occurred_at,
            toString(kind) as due_kind, true as is_due, basis_cents, percent_hundredths, amount_cents
        from round_dues
        union all
        select
            payment_id, license_id, money_event_id, tier, partner_id, referred_id, currency, occurred_at,
            '' as due_kind, false as is_due, -basis_cents, percent_hundredths, -amount_cents
        from posted
    ),
    differing as (  -- what is due, less what is posted; a zero that is posted stands for nothing due
        select
            payment_id, license_id, money_event_id, tier, partner_id, referred_id,
            max(both.is_due) as has_due,
            min(both.is_due) = 0 as has_posted,
            any(both.currency) as line_currency,
            argMax(both.occurred_at, both.is_due) as line_occurred_at,
            max(both.due_kind) as kind,
            argMax(both.percent_hundredths, both.is_due) as line_percent,
            argMin(both.percent_hundredths, both.is_due) as posted_percent,
            sum(both.basis_cents) as line_basis,
            sum(both.amount_cents) as line_amount
        from both
        group by payment_id, license_id, money_event_id, tier, partner_id, referred_id
        having line_amount != 0
    ),
    versions as (
        select
            license_id, product, partner_id, recruiter_id, click_id, clicked_at, reason, payment_origin, transferred_at,
            round
        from binding_versions final
        where round <= {round:UInt64} and license_id in (select license_id from differing)
    ),
    was as (  -- whose each license was before this round
        select *
        from versions
        where round < {round:UInt64}
        order by round desc
        limit 1 by license_id
    ),
    now as (  -- and whose it is
        select *
        from versions
        order by round desc
        limit 1 by license_id
    ),
    moves as (  -- what changed about whose the license is and who pays; empty when nothing did
        select
            now.license_id as moved_id,
            now.product as product,
            if(was.partner_id = '', 'nobody', was.partner_id) as was_of,
            if(now.partner_id = '', 'nobody', now.partner_id) as now_of,
            was.license_id != '' as was_bound,
            was_bound and now.partner_id != was.partner_id as is_rebound,
            was_bound and now.reason != was.reason and 'self_referral' in (toString(was.reason), toString(now.reason))
                as is_judged_anew,
            multiIf(
                is_rebound, concat(
                    'binding moved from ', was_of, ' to ', now_of, ' (R16: ', multiIf(
                        now.click_id != toUUID('00000000-0000-0000-0000-000000000000')
                            and now.clicked_at >= was.clicked_at, 'a late click',
                        was.reason = 'last_touch', 'a click that no longer counts',
                        'a late fact'
                    ), ')', if(now.reason = 'self_referral', '; self_referral (R4)', '')
                ),
                is_judged_anew, 'self_referral (R4)',
                ''
            ) as binding_moved,
            if(
                was_bound and now.recruiter_id != was.recruiter_id,
                concat(
                    'recruiter of ', now.partner_id, ' moved from ',
                    if(was.recruiter_id = '', 'nobody', was.recruiter_id), ' to ',
                    if(now.recruiter_id = '', 'nobody', now.recruiter_id), ' (R16: a late fact)'
                ),
                ''
            ) as recruiter_moved,
            if(
                was_bound and not (now.transferred_at <=> was.transferred_at), 'transfer to the client (R13)', ''
            ) as transferred,
            [now.partner_id, now.recruiter_id] as earners,
            now.reason = 'self_referral' as is_self_referral,
            if(
                now.payment_origin = 'partner',
                ifNull(now.transferred_at, toDateTime64('2299-12-31 00:00:00', 3, 'UTC')),
                toDateTime64(0, 3, 'UTC')
            ) as client_pays_from
        from now
        left join was on was.license_id = now.license_id
    ),
    known as (
        select partner_id as earner_id, suspensions
        from standings final
    ),
    paid as (
        select payment_id as paid_id, paid_at
        from round_payments
        where may_stand
    ),
    explained as (
        select
            differing.*,
            moves.product as product,
            differing.has_due and (differing.payment_id, differing.money_event_id, differing.tier) not in (stood)
                as is_natural,
            (differing.payment_id in (select payment_id from stood)) as has_stood,
            multiIf(
                moves.binding_moved != '', moves.binding_moved,
                differing.tier = 2 and moves.recruiter_moved != '', moves.recruiter_moved,
                moves.transferred
            ) as moved,
            not moves.is_self_referral
                and (differing.tier = 2 or paid.paid_at >= moves.client_pays_from)
                and arrayExists(span -> span.1 <= paid.paid_at and paid.paid_at < span.2, known.suspensions)
                as is_suspended
        from differing
        inner join paid on paid.paid_id = differing.payment_id
        left join moves on moves.moved_id = differing.license_id
        left join known on known.earner_id = moves.earners[differing.tier]
    )
select
    concat({id_prefix:String}, substring(toString(generateUUIDv7()), 15)),
    {round:UInt64},
    fromUnixTimestamp64Milli({posted_at_ms:Int64}, 'UTC'),
    line_occurred_at,
    partner_id,
    tier,
    if(is_natural, kind, 'correction'),
    money_event_id,
    payment_id,
    license_id,
    referred_id,
    product,
    line_basis,
    line_percent,
    line_amount,
    line_currency,
    multiIf(
        is_natural and not has_stood, '',
        is_natural or moved != '', moved,
        is_suspended, 'partner_suspended (R11)',
        has_due and has_posted and line_percent != posted_percent, concat(
            'rate changed from ', toString(posted_percent / 100), ' % to ', toString(line_percent / 100), ' % (R10)'
        ),
        has_due and has_posted and line_basis != 0, 'what came back was reported late (R8)',
        'a late fact (R16)'
    )
from explained
