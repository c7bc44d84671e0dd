-- How much a round may decide again.
-- Grain: one row.
-- Parameters: round.
with
    touched as (
        select uniqExactIf(id, decides = 'partner') as partners, uniqExactIf(id, decides = 'license') as licenses
        from round_touched
        where round = {round:UInt64}
    ),
    changed as (
        select count() as changes
        from round_changes
        where round = {round:UInt64}
    )
select changes, partners, licenses
from touched
cross join changed
