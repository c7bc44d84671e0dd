"""Random histories through the real journal, loader, bindings and ledger, against the reference.

Many histories go side by side. `HISTORIES_PROFILE=thorough` tries thousands, `HISTORIES_EXAMPLES=n` as many as you
like, and `HISTORIES_SEED=n` others than every run does.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from attribution.warehouse import Warehouse
from tests.decided import decided
from tests.delivery import Delivery
from tests.histories import History, histories, merged, reduced
from tests.history_kinds import KINDS, counted
from tests.reference import outcome
from tracker.program import Program

PROFILES = {"quick": "200", "thorough": "4000"}
EXAMPLES = int(os.environ.get("HISTORIES_EXAMPLES", PROFILES[os.environ.get("HISTORIES_PROFILE", "quick")]))
HAVE_EVERYTHING = 200  # histories: what every run tries
SIDE_BY_SIDE = 50
"""Histories that are delivered together: a round costs about the same for one and for all of them."""
SEED = os.environ.get("HISTORIES_SEED")
checked = settings(
    max_examples=EXAMPLES,
    derandomize=SEED is None,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # `reduced` knows better what to leave out, and is quicker
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


@pytest.fixture
def journal_client(empty_redis_url: str) -> Any:
    client = redis.Redis.from_url(empty_redis_url)
    yield client
    client.close()


def maybe_seeded(test: Any) -> Any:
    return hypothesis.seed(int(SEED))(test) if SEED else test


def drawn(count: int, through_api: bool = False) -> list[History]:
    """Histories that share nothing, as Hypothesis draws them: quick, for the product has not seen them yet."""
    numbers = itertools.count(1)
    found: list[History] = []

    @maybe_seeded
    @settings(checked, max_examples=count)
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        found.append(data.draw(histories(next(numbers), through_api=through_api)))

    draw()
    return found


@functools.cache
def all_histories() -> list[History]:
    """The histories of this run."""
    return drawn(EXAMPLES)


@pytest.mark.parametrize("number", range(-(-EXAMPLES // SIDE_BY_SIDE)))
def test_ledger_equals_the_rules(number: int, journal_client: redis.Redis, warehouse: Warehouse) -> None:
    """Whatever the order and the batches, and wherever rounds die: after every round the tables are what the rules give
    on all facts so far."""
    history = merged(all_histories()[number * SIDE_BY_SIDE : (number + 1) * SIDE_BY_SIDE])
    chance = random.Random(f"{SEED} {number}")
    delivery = Delivery(
        rounds_after=chance.randrange(32),
        entry_size=chance.choice([1, 3, 100]),
        dies_before=chance.randrange(1, 30),
        load_dies_before=chance.randrange(1, 50),
    )

    def found(history: History) -> list[str]:
        return delivery.problems(history, journal_client, warehouse)

    if found(history):
        smaller = reduced(history, lambda tried: bool(found(tried)))
        pytest.fail("\n".join([repr(smaller), repr(delivery), *found(smaller)]), pytrace=False)


@pytest.mark.parametrize("allows", [False, True], ids=["", "self-referral"])
def test_explanations_equal_the_rules(allows: bool) -> None:
    """What explains the ledger to people is in Python, and was not asked when the ledger was written."""
    program = replace(Program(), allow_self_referral=allows)
    for history in all_histories():
        facts = [fact for batch in history.batches for fact in batch]
        found, expected = decided(facts, program), outcome(facts, program)
        for name in ("bindings", "recruiters", "events"):
            assert getattr(found, name) == getattr(expected, name), history


def test_histories_have_everything_that_the_rules_tell_apart() -> None:
    tried = all_histories() if EXAMPLES >= HAVE_EVERYTHING else drawn(HAVE_EVERYTHING)
    found = counted(tried[:HAVE_EVERYTHING])
    assert sorted(KINDS - found.keys()) == [], f"none of {HAVE_EVERYTHING} histories has these any more"
