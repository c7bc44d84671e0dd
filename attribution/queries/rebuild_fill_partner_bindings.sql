-- Every license that a partner has or had, and whether it still is theirs; `bindings` are rebuilt before.
-- Grain: one row per version.
insert into rebuilt_partner_bindings
select *, (license_id, round) in (select license_id, round from bindings final) as is_current
from binding_versions final
where partner_id != '' and round <= (select max(round) from bindings)
