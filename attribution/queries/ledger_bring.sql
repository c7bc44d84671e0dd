-- Who brought the visitors of the joins or signups to decide.
-- Grain: one row per partner, or per license signed up for.
-- Parameters: undecided (round_joins or round_licenses), id, moment and hint (its columns), after_load, through_load,
-- window_ms.
insert into round_brought (id, partner_id, click_id, clicked_at, product, campaign, reason, rule)
with
    undecided as (
        select {id:Identifier} as id, {moment:Identifier} as moment, visitor_id, {hint:Identifier} as hint
        from {undecided:Identifier}
    ),
    known as (
        select partner_id, joined_at, suspensions
        from standings final
    ),
    in_window as (  -- R2: both ends of the window belong to it
        select
            undecided.id as id,
            clicks.click_id as click_id,
            clicks.clicked_at as clicked_at,
            clicks.partner_id as partner_id,
            clicks.product as product,
            clicks.campaign as campaign
        from clicks
        inner join undecided on undecided.visitor_id = clicks.visitor_id
        where clicks.visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
            and ({after_load:UInt64} = 0 or clicks.visitor_id in (select visitor_id from {undecided:Identifier}))
            and clicks.verdict = 'human'
            and clicks.load_id <= {through_load:UInt64}
            and clicks.clicked_at <= undecided.moment
            and clicks.clicked_at >= undecided.moment - toIntervalMillisecond({window_ms:Int64})
    ),
    countable as (  -- R1: the partner had joined and was not suspended
        select in_window.*
        from in_window
        inner join known on known.partner_id = in_window.partner_id
        where known.joined_at <= in_window.clicked_at
            and not arrayExists(
                span -> span.1 <= in_window.clicked_at and in_window.clicked_at < span.2, known.suspensions
            )
    ),
    touches as (  -- R2: the newest wins; of equal times the greater click id, as its canonical text orders
        select
            id,
            argMax((partner_id, click_id, clicked_at, product, campaign), (clicked_at, UUIDToNum(click_id))) as newest
        from countable
        group by id
    ),
    hints as (  -- R3: the partner whom the site named, if active at that moment (R11)
        select
            undecided.id as id,
            undecided.hint as hint,
            known.partner_id != '' and known.joined_at <= undecided.moment as had_joined,
            arrayExists(span -> span.1 <= undecided.moment and undecided.moment < span.2, known.suspensions)
                as was_suspended
        from undecided
        left join known on known.partner_id = undecided.hint
    )
select
    hints.id,
    multiIf(
        touches.id != '', tupleElement(touches.newest, 1),
        hints.had_joined and not hints.was_suspended, hints.hint,
        ''
    ),
    tupleElement(touches.newest, 2),
    tupleElement(touches.newest, 3),
    tupleElement(touches.newest, 4),
    tupleElement(touches.newest, 5),
    multiIf(
        touches.id != '', 'last_touch',
        not hints.had_joined, 'none',
        hints.was_suspended, 'partner_suspended',
        'explicit_partner'
    ),
    multiIf(
        touches.id != '', 'R2',
        hints.hint = '', 'R2',
        not hints.had_joined, 'R3',
        hints.was_suspended, 'R11',
        'R3'
    )
from hints
left join touches on touches.id = hints.id
