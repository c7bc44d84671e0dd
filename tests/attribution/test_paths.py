"""Paths as they are read from the warehouse, against the same in plain Python, and their bounds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from attribution import ledger
from attribution import paths as paths_module
from attribution.ledger import run_round
from attribution.multi_touch import OTHERS, Path, last_touch, merged
from attribution.paths import By, Conversion, Paths, PathsWanted, read_paths
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import (
    DAY,
    START,
    FactWriter,
    at,
    changed,
    clicked,
    joined,
    paid,
    refunded,
    signed_up,
)
from tests.databases import empty
from tests.histories import History, merged_histories
from tests.reference import AnyFact, once, outcome
from tracker.events import Clicked, Paid, SignedUp
from tracker.program import Program

PROGRAM = Program()
NOW = START + 400 * DAY
ALL_TIME = PathsWanted(0, START + 400 * DAY, By.PARTNER, Conversion.TRIAL)


def expected_paths(facts: Sequence[AnyFact], wanted: PathsWanted) -> dict[tuple[str, ...], Path]:
    """What paths are, one visitor and one signup at a time."""
    rules = outcome(facts, PROGRAM)
    facts = once(facts)
    clicks = sorted(
        (fact for fact in facts if isinstance(fact, Clicked) and fact.click_id in rules.countable),
        key=lambda click: (click.clicked_at, click.click_id),
    )
    of_visitor: defaultdict[str, list[Clicked]] = defaultdict(list)
    for click in clicks:
        if click.visitor_id:
            of_visitor[click.visitor_id].append(click)
    signups = [fact for fact in facts if isinstance(fact, SignedUp) and fact.visitor_id]
    revenue = {each.license_id: each.revenue_cents for each in rules.funnel}
    paying = {fact.license_id for fact in facts if isinstance(fact, Paid)}
    journeys: list[tuple[Sequence[Clicked], bool, int]] = []
    for signup in signups:
        begin = signup.signed_up_at - PROGRAM.window_ms
        touches = [c for c in of_visitor[signup.visitor_id or ""] if begin <= c.clicked_at <= signup.signed_up_at]
        bound = rules.bindings[signup.license_id]
        if not touches or not bound.click_id or not wanted.from_ms <= signup.signed_up_at < wanted.to_ms:
            continue
        assert touches[-1].click_id == bound.click_id, "the last touch of a path is R2's"
        if not wanted.product or signup.product == wanted.product:
            converts = wanted.conversion == Conversion.TRIAL or signup.license_id in paying
            journeys.append((touches, converts, revenue[signup.license_id]))
    for visitor, own in of_visitor.items():
        followed = [signup.signed_up_at for signup in signups if signup.visitor_id == visitor]
        lost = [
            click
            for click in own
            if click.clicked_at < wanted.to_ms
            and not any(0 <= moment - click.clicked_at <= PROGRAM.window_ms for moment in followed)
        ]
        if lost and lost[-1].clicked_at >= wanted.from_ms and wanted.product in ("", lost[-1].product):
            begin = lost[-1].clicked_at - PROGRAM.window_ms
            journeys.append(([click for click in lost if click.clicked_at >= begin], False, 0))
    return added_up(journeys, wanted)


def added_up(
    journeys: Sequence[tuple[Sequence[Clicked], bool, int]], wanted: PathsWanted
) -> dict[tuple[str, ...], Path]:
    found: dict[tuple[str, ...], Path] = {}
    field = {By.PARTNER: "partner_id", By.CAMPAIGN: "campaign", By.PRODUCT: "product"}[wanted.by]
    for clicks, converts, value in journeys:
        touches = tuple(getattr(click, field) for click in clicks)
        before = found.get(touches) or Path(touches, 0, 0, 0, (0.0,) * len(touches), (0.0,) * len(touches))
        weights = [2 ** -((clicks[-1].clicked_at - c.clicked_at) / DAY / wanted.half_life_days) for c in clicks]
        shares = [weight / sum(weights) * converts for weight in weights]
        worth = value if converts else 0
        found[touches] = Path(
            touches,
            before.conversions + converts,
            before.value_cents + value,
            before.nulls + (not converts),
            tuple(old + share for old, share in zip(before.decayed, shares, strict=True)),
            tuple(old + share * worth for old, share in zip(before.decayed_value_cents, shares, strict=True)),
        )
    return found


def assert_same(found: Paths, expected: dict[tuple[str, ...], Path]) -> None:
    assert {path.touches: (path.conversions, path.value_cents, path.nulls) for path in found.paths} == {
        touches: (path.conversions, path.value_cents, path.nulls) for touches, path in expected.items()
    }
    for path in found.paths:
        assert path.decayed == pytest.approx(expected[path.touches].decayed)
        assert path.decayed_value_cents == pytest.approx(expected[path.touches].decayed_value_cents)
    whole = (found.conversions, found.value_cents, found.nulls)
    assert whole == tuple(
        sum(getattr(path, name) for path in expected.values()) for name in ("conversions", "value_cents", "nulls")
    )


WANTED = [
    (By.PARTNER, Conversion.TRIAL, "", -10, 500),
    (By.CAMPAIGN, Conversion.PAID, "livechat", -10, 500),
    (By.PRODUCT, Conversion.TRIAL, "partner_program", 2, 122),
    (By.PARTNER, Conversion.PAID, "", 121, 181),
    (By.PARTNER, Conversion.TRIAL, "", 120, 120),
]


@settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(history=merged_histories(through_api=False))
def test_paths_are_what_they_are_by_definition(history: History, warehouse: Warehouse) -> None:
    """On random histories."""
    empty(warehouse)
    FactWriter(warehouse).load(*once(history.facts))
    run_round(warehouse, PROGRAM, NOW)
    midnight = START - START % DAY
    for by, conversion, product, first, last in WANTED:
        wanted = PathsWanted(midnight + first * DAY, midnight + last * DAY, by, conversion, product, 3.5)
        assert_same(read_paths(warehouse, PROGRAM, wanted), expected_paths(history.facts, wanted))


MS = 1 / DAY
EDGES = {
    # Days of clicks of one visitor (of one partner each: A, B, …), day of the signup, and the paths: won and lost.
    "the window's first moment": ((1,), 121, ["A"], []),
    "just before the window": ((1 - MS,), 121, [], ["A"]),
    "both sides of the window's edge": ((1 - MS, 1), 121, ["B"], ["A"]),
    "at the signup's own moment": ((5,), 5, ["A"], []),
    "just after the signup": ((4, 5 + MS), 5, ["A"], ["B"]),
    "lost, a window apart": ((1, 121), None, [], ["AB"]),
    "lost, more than a window apart": ((1 - MS, 121), None, [], ["B"]),
    "equal moments: the greater id is the later": ((3, 3, 3), 4, ["ABC"], []),
    "before the partner joined": ((-1, 2), 3, ["B"], []),
}


def test_the_edges_of_windows(warehouse: Warehouse) -> None:
    facts: list[Any] = []
    expected: dict[tuple[str, ...], tuple[int, int]] = {}
    for story, (days, signup_day, won, lost) in enumerate(EDGES.values()):
        facts += [joined(f"{name}{story}") for name in "ABC"]
        facts += [clicked(10 * story + i, f"{'ABC'[i]}{story}", day, story + 1) for i, day in enumerate(days)]
        if signup_day is not None:
            facts.append(signed_up(f"L{story}", signup_day, story + 1))
        expected |= {tuple(f"{name}{story}" for name in path): (1, 0) for path in won}
        expected |= {tuple(f"{name}{story}" for name in path): (0, 1) for path in lost}
    FactWriter(warehouse).load(*facts)
    run_round(warehouse, PROGRAM, NOW)
    found = read_paths(warehouse, PROGRAM, ALL_TIME)
    assert {path.touches: (path.conversions, path.nulls) for path in found.paths} == expected
    assert_same(found, expected_paths(facts, ALL_TIME))


@pytest.fixture
def program_of_many(warehouse: Warehouse) -> Warehouse:
    """Forty visitors who click a few of three partners' links; every fourth signs up, every eighth pays 1000."""
    numbers = count(1)
    facts: list[Any] = [joined(name) for name in "PQR"]
    for visitor in range(40):
        for touch in range(1 + visitor % 5):
            facts.append(clicked(next(numbers), "PQR"[(visitor + touch) % 3], 1 + touch, visitor=visitor + 1))
        if visitor % 4 == 0:
            facts.append(signed_up(f"L{visitor}", 10, visitor=visitor + 1))
        if visitor % 8 == 0:
            facts += [paid(f"p{visitor}", f"L{visitor}", 1500, 11), refunded(f"r{visitor}", f"p{visitor}", 500, 12)]
    FactWriter(warehouse).load(*facts)
    run_round(warehouse, PROGRAM, NOW)
    return warehouse


def test_what_is_left_out_is_counted(program_of_many: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = read_paths(program_of_many, PROGRAM, ALL_TIME)
    assert (everything.conversions, everything.nulls, everything.value_cents) == (10, 30, 5000)
    assert (everything.paths_left_out, everything.shortened, everything.null_shares) == (0, 0, 1)
    monkeypatch.setattr(paths_module, "MAX_PATHS", 4)
    cut = read_paths(program_of_many, PROGRAM, ALL_TIME)
    assert cut.paths == everything.paths[:4]
    assert cut.paths_left_out == len(everything.paths) - 4
    assert cut.conversions_left_out == 10 - sum(path.conversions for path in cut.paths) > 0
    assert (cut.conversions, cut.nulls) == (10, 30)


def test_long_paths_keep_their_ends(program_of_many: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths_module, "MAX_TOUCHES", 3)
    cut = read_paths(program_of_many, PROGRAM, ALL_TIME)
    assert cut.shortened == 16 and max(len(path.touches) for path in cut.paths) == 3
    lost = next(path for path in cut.paths if path.touches == ("P", "P", "Q"))  # of P Q R P Q
    assert lost.conversions + lost.nulls == 3
    full = read_paths(program_of_many, PROGRAM, replace(ALL_TIME, half_life_days=1))
    assert sum(sum(path.decayed) for path in full.paths) == pytest.approx(10)


def test_of_many_clicks_only_a_share_of_the_lost_is_looked_at(
    program_of_many: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = read_paths(program_of_many, PROGRAM, ALL_TIME)
    monkeypatch.setattr(paths_module, "MAX_SAMPLED_CLICKS", 50)
    sampled = read_paths(program_of_many, PROGRAM, ALL_TIME)
    assert sampled.null_shares == 120 // 50 + 1
    assert {p.touches: p.conversions for p in sampled.paths if p.conversions} == {
        p.touches: p.conversions for p in everything.paths if p.conversions
    }
    assert sampled.nulls % 3 == 0 and 0 < sampled.nulls != 30 and math.isclose(sampled.nulls, 30, rel_tol=0.7)


def test_an_empty_program_has_no_paths(warehouse: Warehouse) -> None:
    assert read_paths(warehouse, PROGRAM, ALL_TIME) == Paths(())


def test_a_click_that_a_later_signup_follows_is_not_lost_whatever_the_period(warehouse: Warehouse) -> None:
    FactWriter(warehouse).load(joined("P"), clicked(1, "P", 1), signed_up("L", 50))
    run_round(warehouse, PROGRAM, NOW)
    assert read_paths(warehouse, PROGRAM, replace(ALL_TIME, to_ms=at(20))) == Paths(())


BEFORE = (joined("P"), joined("Q"), clicked(1, "P", 1, visitor=1), signed_up("L1", 2, 1), paid("p1", "L1", 1000, 3))
AFTER = (
    clicked(2, "Q", 4, visitor=2), signed_up("L2", 5, 2), paid("p2", "L2", 700, 6),
    clicked(3, "Q", 1.5, visitor=1), refunded("r1", "p1", 400, 7), changed("s1", "P", 0.5, "suspended"),
)  # fmt: skip
"""A sale of Q's; and of P's client a late click on Q's link, a refund, and that P was suspended before."""


class Died(Exception):
    """The process ends here."""


def test_what_is_loaded_and_not_attributed_is_on_no_path(warehouse: Warehouse) -> None:
    writer = FactWriter(warehouse)
    writer.load(*BEFORE)
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*AFTER)
    assert_same(read_paths(warehouse, PROGRAM, ALL_TIME), expected_paths((*BEFORE, AFTER[0]), ALL_TIME))
    run_round(warehouse, PROGRAM, NOW)
    assert_same(read_paths(warehouse, PROGRAM, ALL_TIME), expected_paths((*BEFORE, *AFTER), ALL_TIME))


def test_half_a_round_is_read_as_a_whole_one(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is published, and its process dies with only the spans of it current."""
    writer = FactWriter(warehouse)
    writer.load(*BEFORE)
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*AFTER)
    expected = expected_paths((*BEFORE, *AFTER), ALL_TIME)

    def dies(*_: object) -> None:
        warehouse.run(ledger.QUERIES["ledger_apply_spans"], round=2)
        raise Died

    monkeypatch.setattr(ledger, "_apply", dies)
    with pytest.raises(Died):
        run_round(warehouse, PROGRAM, NOW)
    assert warehouse.rows("select max(round) as round from bindings") == [{"round": 1}]
    assert_same(read_paths(warehouse, PROGRAM, ALL_TIME), expected)


class Interrupted(Warehouse):
    """A warehouse in which `meanwhile` happens before the statement that gathers paths."""

    meanwhile: Callable[[], None]

    def rows(self, query: str, /, **parameters: object) -> list[dict[str, Any]]:
        if query == paths_module.QUERIES["paths_gather"]:
            self.meanwhile()
        return super().rows(query, **parameters)


def test_rounds_that_come_meanwhile_change_nothing(warehouse: Warehouse, clickhouse_url: str) -> None:
    writer = FactWriter(warehouse)
    writer.load(*BEFORE)
    run_round(warehouse, PROGRAM, NOW)
    reading = Interrupted.open(clickhouse_url, warehouse.database)
    assert isinstance(reading, Interrupted)

    def meanwhile() -> None:
        writer.load(*AFTER)
        run_round(warehouse, PROGRAM, NOW)
        warehouse.run("optimize table partner_spans final")
        warehouse.run("optimize table binding_versions final")

    reading.meanwhile = meanwhile
    found = read_paths(reading, PROGRAM, ALL_TIME)
    assert_same(found, expected_paths((*BEFORE, AFTER[0]), ALL_TIME))
    reading.close()


def test_merging_keeps_the_busiest_and_every_journey() -> None:
    paths = [Path(("A", "B"), 5, 500, 1), Path(("A", "C"), 1, 10, 0), Path(("D",), 0, 0, 9), Path(("C", "D"), 1, 7, 2)]
    found = merged(paths, 3)
    assert found == [
        Path(("A", "B"), 5, 500, 1),
        Path(("A", OTHERS), 1, 10, 0),
        Path((OTHERS,), 0, 0, 9),
        Path((OTHERS, OTHERS), 1, 7, 2),
    ]
    assert last_touch(found)[OTHERS].value_cents == 17
