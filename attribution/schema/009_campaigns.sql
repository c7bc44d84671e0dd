-- What campaigns are asked: a partner's clicks by day, now also by product and campaign, and how a payment is billed.

alter table clicks drop projection if exists by_day;

alter table clicks add projection if not exists by_day (
    select partner_id, toDate(clicked_at, 'UTC') as day, verdict, product, campaign, count()
    group by partner_id, day, verdict, product, campaign
);

alter table clicks materialize projection if exists by_day;

-- monthly or annual; empty where the payment does not say, which counts as monthly.
alter table payments add column if not exists billing_cycle LowCardinality(String) after method;
