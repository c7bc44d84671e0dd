-- Partners as the directory in Redis keeps them, with when they were suspended and reinstated, a page at a time.
-- Grain: one row per partner. Parameters: after, the last id of the page before; page_size.
with
    page as (
        select *
        from partners
        where partner_id > {after:String}
        order by partner_id
        limit {page_size:UInt32}
    ),
    changes as (
        select
            partner_id,
            groupArray((toUnixTimestamp64Milli(occurred_at), event_id, toString(kind))) as changes
        from partner_events
        where kind in ('suspended', 'reinstated')
            and partner_id in (select partner_id from page)
        group by partner_id
    )
select
    page.partner_id as id,
    toUnixTimestamp64Milli(page.joined_at) as joined_at,
    page.name as name,
    page.email as email,
    page.email_hash as email_hash,
    page.links as links,
    page.answered as answered,
    page.digest as digest,
    changes.changes as changes
from page
left join changes on changes.partner_id = page.partner_id
order by id
