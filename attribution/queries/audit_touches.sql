-- The newest touches of a share of the visitors, as Redis should have them (docs/architecture.md, Touches).
-- Grain: one row per visitor. Parameters: through_load; since_ms, the begin of what is compared, exclusive; share and
-- shares: visitors whose hash leaves this rest; most, how many touches a visitor keeps.
with lines as (include touch_lines)
select
    visitor_id,
    arraySlice(arrayReverseSort(groupArray(line)), 1, {most:UInt8}) as lines
from lines
where load_id <= {through_load:UInt64}
group by visitor_id
