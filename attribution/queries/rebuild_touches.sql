-- The newest touches of a share of the visitors (docs/architecture.md, Touches).
-- Grain: one row per visitor. Parameters: since_ms, the window's begin, exclusive; share and shares: visitors whose
-- hash leaves this rest; most, how many touches a visitor keeps.
with lines as (include touch_lines)
select
    visitor_id,
    arraySlice(arrayReverseSort(groupArray(line)), 1, {most:UInt8}) as lines
from lines
group by visitor_id
