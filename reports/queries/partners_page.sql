-- Purpose: partners as administrators list and search them, newest first.
-- Grain: one row per partner.
-- Parameters: search (part of id, name or e-mail; empty for all), partner_id (that partner only; empty for all),
--   now_ms, before_ms and before_id (the page starts after this row), most (rows to read).
with
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') as before_at,
    newest_changes as (
        select partner_id, argMax(kind, (occurred_at, event_id)) as newest_kind
        from partner_events
        where kind in ('suspended', 'reinstated') and occurred_at <= now_at
        group by partner_id
    ),
    newest_recruitments as (
        select partner_id, argMax(recruiter_id, round) as newest_recruiter
        from recruitments
        where round <= (select max(round) from rounds)
        group by partner_id
    )
select
    partners.partner_id as partner_id,
    partners.name as name,
    partners.email as email,
    partners.links as links,
    newest_recruitments.newest_recruiter as recruiter_id,
    if(newest_changes.newest_kind = 'suspended', 'suspended', 'active') as status,
    toUnixTimestamp64Milli(partners.joined_at) as joined_ms
from partners
left join newest_changes on newest_changes.partner_id = partners.partner_id
left join newest_recruitments on newest_recruitments.partner_id = partners.partner_id
where ({partner_id:String} = '' or partners.partner_id = {partner_id:String})
    and (
        {search:String} = ''
        or positionCaseInsensitiveUTF8(partners.partner_id, {search:String}) > 0
        or positionCaseInsensitiveUTF8(partners.name, {search:String}) > 0
        or positionCaseInsensitiveUTF8(partners.email, {search:String}) > 0
    )
    and (partners.joined_at, partners.partner_id) < (before_at, {before_id:String})
order by partners.joined_at desc, partners.partner_id desc
limit {most:UInt32}
