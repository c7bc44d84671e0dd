-- A partner's clicks by day, for overviews of a year: one row per partner, day and verdict instead of one per click. It is
-- written and merged with the rows that it counts, so that it can miss or double none; rows of before are counted as they
-- are until ClickHouse has come to them.
alter table clicks add projection if not exists by_day (
    select partner_id, toDate(clicked_at, 'UTC') as day, verdict, count()
    group by partner_id, day, verdict
);

alter table clicks materialize projection if exists by_day;
