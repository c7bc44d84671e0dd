"""Countable clicks (R1): days that are counted whole, and the moments around them, are just what the rule counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reader import Reader, reading

from attribution.warehouse import Warehouse
from reports.click_counts import EPOCH, Visit, clicks_by_day, clicks_by_visit, countable
from reports.periods import ALL_TIME, Period
from tests.attribution.fact_writer import START, changed, clicked, joined
from tracker.program import DAY_MS

NOON = START  # of a day


@pytest.fixture
def reader(empty_redis_url: str, warehouse: Warehouse, tmp_path: Path) -> Iterator[Reader]:
    with reading(empty_redis_url, warehouse, tmp_path) as opened:
        yield opened


MOMENTS = st.one_of(
    st.integers(0, 6 * DAY_MS), st.builds(lambda day, off: day * DAY_MS + off, st.integers(1, 5), st.integers(-1, 1))
)


@given(st.lists(MOMENTS, max_size=6, unique=True), st.lists(MOMENTS, min_size=2, max_size=2))
def test_days_and_parts_are_what_is_asked_for(bounds: list[int], asked: list[int]) -> None:
    """Without gap or overlap, for spans and periods that begin and end at any moment."""
    ordered = sorted(bounds)
    spans = [Period(*pair) for pair in zip(ordered[::2], ordered[1::2], strict=False)]
    period = Period(*sorted(asked))
    found = countable(period, spans)
    pieces = [(first * DAY_MS, end * DAY_MS) for first, end in found.days]
    pieces += [(part.from_ms, part.to_ms) for part in found.parts]
    assert all(part.to_ms - part.from_ms < DAY_MS for part in found.parts)
    assert all(part.from_ms // DAY_MS == (part.to_ms - 1) // DAY_MS for part in found.parts), "a part is of one day"
    edges = sorted({0, 7 * DAY_MS, *asked, *ordered, *(edge for piece in pieces for edge in piece)})
    for at in edges:
        wanted = period.from_ms <= at < period.to_ms and any(span.from_ms <= at < span.to_ms for span in spans)
        assert sum(since <= at < until for since, until in pieces) == wanted, at


def test_days_with_a_suspension_in_the_middle(reader: Reader) -> None:
    """Of two products, robots aside, in periods of whole days, of parts of a day, and of all time."""
    moments = [0, 0.6, 0.8, 1.0, 1.2, 1.49, 1.5, 1.55, 1.6, 2, 2.4, 2.99, 4.5, 5, 5.1, 5.2, 7.4]
    products = ("livechat", "helpdesk")
    clicks = [clicked(number, "P", day, product=products[number % 2]) for number, day in enumerate(moments)]
    robots = [clicked(90, "P", 1.2, verdict="bot"), clicked(91, "P", 4, verdict="prefetch")]
    reader.arrive(
        joined("P", 0.7), *clicks, *robots, changed("off", "P", 1.5, "suspended"),
        changed("on", "P", 1.6, "reinstated"), changed("off2", "P", 5.15, "suspended"),
    )  # fmt: skip
    reader.load()
    reader.round()
    spans = [(0.7, 1.5), (1.6, 5.15)]  # and of each night between: days begin at .5
    bounds = [
        (0, 10),
        (0.9, 2.4),
        (1.3, 1.55),
        (2.3, 2.7),
        (4.6, 5.2),
        (-0.5, 1.5),
        (2, 2),
        (4.5, 5.1),
        (None, None),
    ]
    for since, until in bounds:
        period = ALL_TIME if since is None else Period(_at(since), _at(until or 0))
        counted = [
            click
            for day, click in zip(moments, clicks, strict=True)
            if any(first <= day < end for first, end in spans) and period.from_ms <= click.clicked_at < period.to_ms
        ]
        for product in ("", "helpdesk"):
            days = reader.runner.run(clicks_by_day(reader.room, "P", period, product))
            assert {(day - EPOCH).days: clicks for day, clicks in days.items()} == Counter(
                click.clicked_at // DAY_MS for click in counted if product in ("", click.product)
            ), (since, until, product)
        visits = reader.runner.run(clicks_by_visit(reader.room, "P", period))
        assert dict(visits) == Counter(Visit(click.product, click.campaign, ("",) * 4) for click in counted), (
            since,
            until,
        )


def test_tags_are_told_as_they_were_meant(reader: Reader) -> None:
    queries = ["utm_campaign=a+b&utm_term=%C3%BC", "x=1&utm_campaign=a%20b&utm_term=%C3%BC", "autm_campaign=x", "", "%"]
    reader.arrive(joined("P"), *(replace(clicked(n, "P", 2), landing_query=query) for n, query in enumerate(queries)))
    reader.load()
    reader.round()
    visits = reader.runner.run(clicks_by_visit(reader.room, "P", ALL_TIME, by_tags=True))
    assert dict(visits) == {
        Visit("livechat", "pp_spring", ("a b", "", "", "ü")): 2,
        Visit("livechat", "pp_spring", ("", "", "", "")): 3,
    }


def _at(day: float) -> int:
    return NOON + round(day * DAY_MS)
