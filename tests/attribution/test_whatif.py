"""What-ifs: today's rules give the ledger, other rules what the reference gives, and nothing is touched."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from attribution.ledger import run_round
from attribution.recomputation import SCRATCH_TABLES
from attribution.warehouse import Warehouse
from attribution.whatif import Rules, Sums, WhatIf, Winner, what_if
from tests.attribution.fact_writer import DAY, START, FactWriter, clicked, joined, paid, refunded, signed_up
from tests.databases import TABLES, empty
from tests.histories import History, merged_histories
from tests.reference import Outcome, once, outcome
from tracker.program import Program

PROGRAM = Program()
NOW = START + 400 * DAY
TODAY = Rules.of(PROGRAM)
OTHERS = (
    Rules(119, 0, 10_000, False),
    replace(TODAY, model=Winner.FIRST),
    Rules(121, 3333, 1250, True, Winner.FIRST),
)


def now_and_then(found: WhatIf) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]]:
    """(partner, tier) → cents, of the ledger and of the other rules; no zeros."""
    now, then = {}, {}
    for partner_id, sums in found.partners.items():
        now[partner_id, 1], now[partner_id, 2] = sums.first_tier_now_cents, sums.second_tier_now_cents
        then[partner_id, 1], then[partner_id, 2] = sums.first_tier_then_cents, sums.second_tier_then_cents
    return tuple({key: cents for key, cents in some.items() if cents} for some in (now, then))  # type: ignore[return-value]


def expected_sums(rules: Outcome) -> dict[tuple[str, int], int]:
    sums: defaultdict[tuple[str, int], int] = defaultdict(int)
    for (_, tier, partner_id), cents in rules.payments.items():
        sums[partner_id, tier] += cents
    return {key: cents for key, cents in sums.items() if cents}


def licenses(rules: Outcome) -> dict[str, str]:
    return {license_id: bound.partner_id for license_id, bound in rules.bindings.items()}


@settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(history=merged_histories(through_api=False))
def test_other_rules_give_what_the_reference_gives(history: History, warehouse: Warehouse) -> None:
    empty(warehouse)
    FactWriter(warehouse).load(*once(history.facts))
    run_round(warehouse, PROGRAM, NOW)
    today = outcome(history.facts, PROGRAM)
    for rules in (TODAY, *OTHERS):
        found = what_if(warehouse, PROGRAM, rules)
        now, then = now_and_then(found)
        other = outcome(history.facts, rules.applied_to(PROGRAM), rules.model == Winner.FIRST)
        assert now == expected_sums(today)
        assert then == expected_sums(other)
        if rules == TODAY:
            assert now == then and found.moved_licenses == found.total.difference_cents == 0
        before, after = licenses(today), licenses(other)
        assert found.moved_licenses == sum(before[one] != after[one] for one in before)
        for partner_id, sums in found.partners.items():
            counts = [list(some.values()).count(partner_id) for some in (before, after)]
            assert [sums.licenses_now, sums.licenses_then] == counts


@pytest.fixture
def settled(warehouse: Warehouse) -> Warehouse:
    """A's click on day 1, B's on day 40, a signup on day 50; 2900 paid, 900 refunded. A recruited B."""
    FactWriter(warehouse).load(
        joined("A"),
        joined("B", 0.5, recruiter="A"),
        clicked(1, "A", 1),
        clicked(2, "B", 40),
        signed_up("L", 50),
        paid("p", "L", 2900, 60),
        refunded("r", "p", 900, 61),
    )
    run_round(warehouse, PROGRAM, NOW)
    return warehouse


@pytest.mark.parametrize(
    ("rules", "moved", "expected"),
    [
        (TODAY, 0, {"A": Sums(0, 0, 0, 0, 100, 100), "B": Sums(1, 1, 400, 400, 0, 0)}),
        (replace(TODAY, model=Winner.FIRST), 1, {"A": Sums(0, 1, 0, 400, 100, 0), "B": Sums(1, 0, 400, 0, 0, 0)}),
        (replace(TODAY, window_days=9), 1, {"A": Sums(0, 0, 0, 0, 100, 0), "B": Sums(1, 0, 400, 0, 0, 0)}),
        (
            replace(TODAY, first_tier_percent_hundredths=2500, second_tier_percent_hundredths=0),
            0,
            {"A": Sums(0, 0, 0, 0, 100, 0), "B": Sums(1, 1, 400, 500, 0, 0)},
        ),
    ],
)
def test_a_story_under_other_rules(settled: Warehouse, rules: Rules, moved: int, expected: dict[str, Sums]) -> None:
    found = what_if(settled, PROGRAM, rules)
    assert found.partners == expected
    assert (found.now, found.then, found.round, found.through_load, found.moved_licenses) == (TODAY, rules, 1, 1, moved)
    assert [*found.partners] == sorted(expected, key=lambda one: (-abs(expected[one].difference_cents), one))
    assert found.total.difference_cents == sum(sums.difference_cents for sums in expected.values())


def test_nothing_is_touched(settled: Warehouse) -> None:
    def everything() -> dict[str, int]:
        rows = settled.rows(TABLES)
        count = "select sum(cityHash64(*)) as n from {table:Identifier}"
        return {row["name"]: settled.rows(count, table=row["name"])[0]["n"] for row in rows}

    before = everything()
    what_if(settled, PROGRAM, OTHERS[2])
    assert everything() == before
    for table in SCRATCH_TABLES:
        assert settled.rows("select count() as n from {table:Identifier}", table=table) == [{"n": 0}]


def test_an_empty_program_has_nothing(warehouse: Warehouse) -> None:
    found = what_if(warehouse, PROGRAM, OTHERS[0])
    assert (found.partners, found.round, found.total) == ({}, 0, Sums())
