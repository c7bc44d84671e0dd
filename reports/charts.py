"""Charts as plain geometry: templates draw them as SVG, with the same numbers in a table below.

A chart is stretched to the width of its place, so it holds bars only; its labels are HTML around it and stay readable
on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH = 1000
HEIGHT = 200
GAP = 0.22  # of a column's place, left empty


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of number: its name, its style class, and a value per column."""

    name: str
    style: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Stacked columns over a zero line. `rows` are the same numbers for the table, written out."""

    title: str
    series: Sequence[Series]
    bars: Sequence[Bar]
    zero_y: float
    top_label: str
    bottom_label: str
    first_label: str
    last_label: str
    rows: Sequence[tuple[str, Sequence[str]]]
    is_empty: bool


def column_chart(
    title: str, labels: Sequence[str], series: Sequence[Series], write: Callable[[int], str]
) -> ColumnChart:
    """Columns of stacked series, one per label; negative values hang below the zero line. `write` formats a value."""
    ups = [sum(max(one.values[i], 0) for one in series) for i in range(len(labels))]
    downs = [sum(min(one.values[i], 0) for one in series) for i in range(len(labels))]
    top, bottom = max(ups, default=0), min(downs, default=0)
    scale = HEIGHT / ((top - bottom) or 1)
    zero_y = round(top * scale, 2)
    return ColumnChart(
        title=title,
        series=series,
        bars=list(_bars(labels, series, scale, zero_y, write)),
        zero_y=zero_y,
        top_label=write(top),
        bottom_label=write(bottom) if bottom else "",
        first_label=labels[0] if labels else "",
        last_label=labels[-1] if len(labels) > 1 else "",
        rows=[(label, [write(one.values[i]) for one in series]) for i, label in enumerate(labels)],
        is_empty=top == bottom == 0,
    )


def _bars(
    labels: Sequence[str], series: Sequence[Series], scale: float, zero_y: float, write: Callable[[int], str]
) -> list[Bar]:
    bars: list[Bar] = []
    place = WIDTH / max(len(labels), 1)
    for i, label in enumerate(labels):
        up = down = zero_y
        for one in series:
            height = abs(one.values[i]) * scale
            if not height:
                continue
            y = up - height if one.values[i] > 0 else down
            up, down = (y, down) if one.values[i] > 0 else (up, y + height)
            bars.append(
                Bar(
                    round((i + GAP / 2) * place, 2),
                    round(y, 2),
                    round((1 - GAP) * place, 2),
                    round(height, 2),
                    one.style,
                    f"{label} – {one.name}: {write(one.values[i])}",
                )
            )
    return bars


def bar_width(value: int, most: int) -> float:
    """The width of a bar in a table, of 100: its share of the longest, and never too thin to see."""
    return max(0.8, round(100 * value / most, 2)) if most > 0 and value > 0 else 0
