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
        select license_id, transferred_at
        from partner_bindings final
        where partner_id in (select partner_id from owners) and is_current
    ),
    trials as (include trials),
    moments as (
        select ends_at as moment from trials
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
