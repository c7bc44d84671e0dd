-- Clicks in the order of their times, for the loader: whether an id is stored already is looked up among the clicks of
-- the same time, whatever the number of clicks before.
alter table clicks add projection if not exists by_time (
    select clicked_at, click_id, load_id
    order by clicked_at
);

alter table clicks materialize projection by_time;

-- As small as with ZSTD(3) on real clicks, and a sixth less work to store.
alter table clicks
    modify column user_agent String codec(ZSTD(1)),
    modify column referrer String codec(ZSTD(1)),
    modify column landing_query String codec(ZSTD(1));
