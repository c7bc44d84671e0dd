"""How much anybody may ask for."""

from __future__ import annotations

import pytest

from tracker.allowance import MOST_NAMES, Allowance


def test_a_burst_then_a_rate() -> None:
    allowance = Allowance(burst=3, per_second=0.5)
    assert [allowance.wait_seconds("x", 100.0) for _ in range(4)] == [0, 0, 0, 2]
    assert allowance.wait_seconds("x", 101.0) == pytest.approx(1), "what is refused takes nothing"
    assert [allowance.wait_seconds("x", 102.0) for _ in range(2)] == [0, 2]
    assert [allowance.wait_seconds("x", 200.0) for _ in range(4)] == [0, 0, 0, 2], "it is saved up, to the burst"


def test_everybody_has_their_own() -> None:
    allowance = Allowance(burst=1, per_second=1)
    assert [allowance.wait_seconds(name, 0.0) for name in "xyx"] == [0, 0, 1]


def test_a_clock_that_goes_back_harms_nobody() -> None:
    allowance = Allowance(burst=1, per_second=1)
    assert allowance.wait_seconds("x", 1000.0) == 0
    assert allowance.wait_seconds("y", 10.0) == 0


def test_invented_names_do_not_fill_the_memory() -> None:
    allowance = Allowance(burst=1, per_second=0.001)
    for number in range(3 * MOST_NAMES):
        assert allowance.wait_seconds(str(number), 0.0) == 0
    assert len(allowance._used_until) <= MOST_NAMES
