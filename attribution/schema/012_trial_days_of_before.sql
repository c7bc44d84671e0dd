-- Before 011 the trial's length was in a solution license's state alone, which left it out where it was 14 days. Without
-- it in the fact, lists and counts would end longer trials too early.
alter table solution_licenses
update trial_days = if(
    mapContains(
        (
            select mapFromArrays(groupArray(key), groupArray(JSONExtract(value, 'trial_days', 'UInt16')))
            from directory_entries final
            where kind = 'solution-license' and JSONHas(value, 'trial_days')
        ) as named,
        license_id
    ),
    named[license_id],
    14
)
where trial_days is null
    and license_id in (select key from directory_entries final where kind = 'solution-license' and value != '')
settings mutations_sync = 1;
