-- The bindings once more, sorted for questions about a partner, which else read everybody's: of each license that a
-- partner has or had, the newest version in which it was theirs, and whether it still is.
create table if not exists partner_bindings as bindings
engine = ReplacingMergeTree(round)
order by (partner_id, license_id)
settings index_granularity = 1024;

alter table partner_bindings add column if not exists is_current UInt8 after round;

-- Those of before, in a table beside it, as the clicks by day were.
drop table if exists rebuilt_partner_bindings;

create table if not exists rebuilt_partner_bindings as partner_bindings;

insert into rebuilt_partner_bindings
select *, (license_id, round) in (select license_id, round from bindings final) as is_current
from binding_versions final
where partner_id != '' and round <= (select max(round) from bindings);

exchange tables rebuilt_partner_bindings and partner_bindings;

drop table if exists rebuilt_partner_bindings;
