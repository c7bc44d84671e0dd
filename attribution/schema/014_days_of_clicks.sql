-- Human clicks by partner, day, link and tags of the visit, for reports: one row for what there are many of. The loader
-- counts each load once, right after it has stored the load's clicks (queries/loader_count_days.sql).
-- `newest_load` is the newest load with such a click: a load that is newer than all of them is not counted yet.
create table if not exists click_days
(
    partner_id   String,
    day          Date32,                   -- of clicked_at, in UTC
    product      LowCardinality(String),
    campaign     String,
    utm_campaign String,                   -- decoded, as all tags; empty where the landing page's query has none
    utm_medium   String,
    utm_content  String,
    utm_term     String,
    clicks       SimpleAggregateFunction(sum, UInt64),
    newest_load  SimpleAggregateFunction(max, UInt64),
    index newest_load_range newest_load type minmax granularity 1
)
engine = AggregatingMergeTree
primary key (partner_id, day)
order by (partner_id, day, product, campaign, utm_campaign, utm_medium, utm_content, utm_term)
settings index_granularity = 1024;

-- Clicks as they are counted there, one by one: rows of the same key are added up when they are written, and when parts
-- are merged.
create view if not exists clicks_by_day as
select
    partner_id,
    toDate32(clicked_at, 'UTC') as day,
    product,
    campaign,
    decodeURLFormComponent(extractURLParameter(tags, 'utm_campaign')) as utm_campaign,
    decodeURLFormComponent(extractURLParameter(tags, 'utm_medium')) as utm_medium,
    decodeURLFormComponent(extractURLParameter(tags, 'utm_content')) as utm_content,
    decodeURLFormComponent(extractURLParameter(tags, 'utm_term')) as utm_term,
    1 as clicks,
    load_id as newest_load,
    clicked_at
from (select *, if(position(landing_query, 'utm_') = 0, '', concat('?', landing_query)) as tags from clicks)
where verdict = 'human';

-- The clicks of before, in a table beside it: a repetition begins with another one, whatever ClickHouse still does to this.
-- A load that is not finished is counted when it is.
drop table if exists rebuilt_click_days;

create table if not exists rebuilt_click_days as click_days;

insert into rebuilt_click_days
select * except (clicked_at)
from clicks_by_day
where newest_load <= (select max(load_id) from loads where is_finished = 1);

exchange tables rebuilt_click_days and click_days;

drop table if exists rebuilt_click_days;

-- Reports read the above instead.
alter table clicks drop projection if exists by_day;
