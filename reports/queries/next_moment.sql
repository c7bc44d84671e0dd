-- Purpose: when the clock alone may next change what statements say of a partner, rather too early than too late: a trial
--   ends, a subscription closes, or an event or a handover that was dated ahead comes, of a license that is theirs or of a
--   partner whom they recruited.
-- Grain: one row; 0 where nothing is ahead. Parameters: partner_id, now_ms, trial_days (of a license that names none).
with
    fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') as now_at,
    owners as (
        select {partner_id:String} as partner_id
        union all
        select partner_id from recruitments final where recruiter_id = {partner_id:String}
    ),
    licenses as materialized (
        select license_id, started_at, transferred_at
        from bindings final
        where partner_id in (select partner_id from owners)
    ),
    trials as (
        select
            license_id,
            coalesce(
                trial_days, nullIf(JSONExtractUInt(answered, 'deal', 'trial_days'), 0), {trial_days:UInt16}
            ) as trial_length
        from signups
        where license_id in (select license_id from licenses)
        union all
        select license_id, ifNull(trial_days, {trial_days:UInt16}) as trial_length
        from solution_licenses
        where license_id in (select license_id from licenses)
    ),
    moments as (
        select addDays(licenses.started_at, trials.trial_length) as moment
        from licenses
        inner join trials on trials.license_id = licenses.license_id
        union all
        select addDays(assumeNotNull(transferred_at), arrayJoin([0, 14])) from licenses where transferred_at is not null
        union all
        select occurred_at from license_events where license_id in (select license_id from licenses)
        union all
        select assumeNotNull(closes_at)
        from subscription_events
        where license_id in (select license_id from licenses) and closes_at is not null
    )
select toUnixTimestamp64Milli(min(moment)) as moment_ms
from moments
where moment > now_at
