-- Days of partners on which there are not as many clicks as are counted for the reports, or clicks on other links. Days
-- with clicks of a load that came while this reads are left out.
-- Only of partners whose days differ in sum are the days looked at one by one: there may be millions.
-- Grain: one row per partner and day; `findings` counts all of them.
-- Parameters: max_rows.
with
    (select max(load_id) from loads where is_finished = 1) as finished_load,
    suspects as materialized (
        select partner_id
        from (
            select partner_id, sum(click_days.clicks * cityHash64(day, toString(product), campaign)) as links
            from click_days
            group by partner_id
            union all
            select partner_id, sum(cityHash64(toDate32(clicked_at, 'UTC'), toString(product), campaign)) as links
            from clicks
            where verdict = 'human' and load_id <= finished_load
            group by partner_id
        )
        group by partner_id
        having groupBitXor(links) != 0
    ),
    counted as (
        select partner_id, day, sum(click_days.clicks) as clicks, max(newest_load) as newest,
            sum(click_days.clicks * cityHash64(toString(product), campaign)) as links
        from click_days
        where partner_id in (select partner_id from suspects)
        group by partner_id, day
    ),
    stored as (
        select partner_id, toDate32(clicked_at, 'UTC') as day, count() as clicks,
            sum(cityHash64(toString(product), campaign)) as links
        from clicks
        where verdict = 'human' and load_id <= finished_load and partner_id in (select partner_id from suspects)
        group by partner_id, day
    )
select
    concat(if(stored.partner_id = '', counted.partner_id, stored.partner_id), ' on ',
        toString(if(stored.partner_id = '', counted.day, stored.day))) as subject,
    concat(toString(stored.clicks), ' clicks, ', toString(counted.clicks), ' are counted',
        if(stored.clicks = counted.clicks, ', of other links', '')) as detail,
    count() over () as findings
from stored
full join counted on counted.partner_id = stored.partner_id and counted.day = stored.day
where (stored.clicks != counted.clicks or stored.links != counted.links) and counted.newest <= finished_load
order by subject
limit {max_rows:UInt32}
