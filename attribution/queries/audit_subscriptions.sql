-- Licenses whose subscription is not, in the state that is kept of it, what the newest change made it, or of whose
-- changes some are missing. Those with changes or a state newer than what is audited are left out.
-- Grain: one row per license; `findings` counts all of them.
-- Parameters: through_load, max_rows.
with
    states as (
        select
            key as license_id,
            JSONHas(value, 'subscription') as has_terms,
            JSONExtractRaw(value, 'subscription') as terms,
            if(
                has_terms,
                tuple(
                    JSONExtractString(terms, 'plan'),
                    JSONExtractString(terms, 'billing_cycle'),
                    JSONExtractUInt(terms, 'seats'),
                    JSONExtractInt(terms, 'started_at'),
                    JSONExtractInt(terms, 'closes_at')
                ),
                tuple('', '', 0, 0, 0)
            ) as kept
        from directory_entries final
        where kind = 'solution-license' and value != '' and load_id <= {through_load:UInt64}
    ),
    newest as (
        select
            license_id,
            max(number) as newest_number,
            uniqExact(number) as numbers,
            argMax(
                if(
                    kind = 'transferred',
                    tuple('', '', 0, 0, 0),
                    tuple(
                        toString(plan),
                        toString(billing_cycle),
                        toUInt64(seats),
                        toUnixTimestamp64Milli(started_at),
                        ifNull(toUnixTimestamp64Milli(closes_at), 0)
                    )
                ),
                (number, event_id)
            ) as told
        from subscription_events
        group by license_id
        having max(load_id) <= {through_load:UInt64}
    )
select
    states.license_id as subject,
    concat(
        'its state is ', toString(states.kept), ', its newest change made it ', toString(newest.told), '; of ',
        toString(newest.newest_number), ' changes ', toString(newest.numbers), ' are known'
    ) as detail,
    count() over () as findings
from states
inner join newest on newest.license_id = states.license_id
where states.kept != newest.told or newest.numbers != newest.newest_number
order by states.license_id
limit {max_rows:UInt32}
