-- Whether licenses are blocked (R12) is asked with every balance, and few events of licenses say so.
alter table license_events add projection if not exists by_kind (
    select kind, license_id, occurred_at, event_id
    order by kind, license_id
);

alter table license_events materialize projection by_kind;
