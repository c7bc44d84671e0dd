-- Purpose: what became of some visitors: the licenses they signed up and the partners they became, for the
--   outcome of a click.
-- Grain: one row per signup or join of one of the visitors, oldest first.
-- Parameters: visitors (UUIDs as text).
with
    (select max(round) from rounds) as published,
    wanted as (select arrayJoin(arrayMap(id -> toUUID(id), {visitors:Array(String)})) as visitor),
    newest_bindings as (
        select license_id, partner_id, toString(click_id) as winner
        from bindings
        where round <= published
            and license_id in (select license_id from signups where visitor_id in (select visitor from wanted))
        order by round desc
        limit 1 by license_id
    ),
    newest_recruitments as (
        select partner_id, recruiter_id, toString(click_id) as winner
        from recruitments
        where round <= published
            and partner_id in (select partner_id from partners where visitor_id in (select visitor from wanted))
        order by round desc
        limit 1 by partner_id
    )
select
    'license' as what,
    signups.license_id as id,
    toString(assumeNotNull(signups.visitor_id)) as visitor,
    toUnixTimestamp64Milli(signups.signed_up_at) as happened_ms,
    newest_bindings.winner as winner
from signups
inner join newest_bindings on newest_bindings.license_id = signups.license_id
where signups.visitor_id in (select visitor from wanted)
union all
select
    'partner' as what,
    partners.partner_id as id,
    toString(assumeNotNull(partners.visitor_id)) as visitor,
    toUnixTimestamp64Milli(partners.joined_at) as happened_ms,
    newest_recruitments.winner as winner
from partners
inner join newest_recruitments on newest_recruitments.partner_id = partners.partner_id
where partners.visitor_id in (select visitor from wanted)
order by happened_ms
