"""Multi-touch models: against the published package, against their definitions, and what they must hold by nature."""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import markov as markov_module
from attribution.markov import Chain, TooManyStates, chain_of, markov, removal_effects, states_of
from attribution.multi_touch import (
    Credits,
    Path,
    first_touch,
    last_touch,
    linear,
    position_based,
    time_decay,
)
from tests.attribution import channel_attribution as package

HEURISTICS: dict[str, Callable[[Sequence[Path]], Credits]] = {
    "first": first_touch,
    "last": last_touch,
    "linear": linear,
}
SIGMAS = 5


def kept_results() -> list[tuple[list[Path], dict[str, Any]]]:
    """What the package gave when the file was made."""
    sets = json.loads(package.RESULTS.read_text(encoding="utf-8"))["sets"]
    return [([Path(tuple(text.split(">")), *numbers) for text, *numbers in one["paths"]], one) for one in sets]


@cache
def fresh_results() -> list[tuple[list[Path], dict[str, Any]]]:
    """What the package gives here and now."""
    return [(paths, package.package_results(paths)) for paths in package.path_sets()]


SOURCES = [kept_results, *([fresh_results] if package.is_installed() else [])]


@pytest.mark.parametrize("results", SOURCES)
def test_first_last_and_linear_are_the_package_s(results: Callable[[], Any]) -> None:
    for paths, given_by_package in results():
        for name, model in HEURISTICS.items():
            found = {channel: [each.conversions, each.value_cents] for channel, each in model(paths).items()}
            assert found.keys() == given_by_package[name].keys()
            for channel, numbers in found.items():
                assert numbers == pytest.approx(given_by_package[name][channel], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("order", package.ORDERS)
@pytest.mark.parametrize("results", SOURCES)
def test_the_markov_chain_is_the_package_s(results: Callable[[], Any], order: int) -> None:
    """Its steps exactly, and its removal effects within what its random walks may be off."""
    for paths, given_by_package in results():
        chain = chain_of(paths, order)
        theirs = given_by_package[f"markov {order}"]
        assert steps_of(chain) == {
            (before, after): pytest.approx(chance, abs=1e-9) for before, after, chance in theirs["steps"]
        }
        effects = removal_effects(chain)
        assert effects.keys() == theirs["effects"].keys()
        for channel, off in errors_of_walks(paths, order).items():
            conversions, value = theirs["effects"][channel]
            assert effects[channel].conversions == pytest.approx(conversions, abs=SIGMAS * off[0] + 1e-9)
            assert effects[channel].value == pytest.approx(value or 0, abs=SIGMAS * off[1] + 1e-9)


def steps_of(chain: Chain) -> dict[tuple[str, str], float]:
    """The chain as the package lists it."""
    names = [">".join(state) for state in chain.states]
    steps = {(names[i], names[j]): chain.steps[i, j] for i, j in np.argwhere(chain.steps)}
    steps |= {("(start)", name): chance for name, chance in zip(names, chain.starts, strict=True)}
    steps |= {(name, "(conversion)"): chance for name, chance in zip(names, chain.converts, strict=True)}
    fails = 1 - chain.converts - chain.steps.sum(axis=1)
    steps |= {(name, "(null)"): chance for name, chance in zip(names, fails, strict=True)}
    return {step: chance for step, chance in steps.items() if chance > 1e-12}


def errors_of_walks(paths: Sequence[Path], order: int) -> dict[str, tuple[float, float]]:
    """Channel → standard error of the share of WALKS walks, and of their value, that passes through it.

    A share p of n converting walks has the error √(p(1−p)/n). The share R of their value v has
    √((E[v²; through](1−R)² + E[v²; past](R²)) / n) / E[v].
    """
    chain = chain_of(paths, order)
    squares = replace(chain, values=squares_of(paths, chain, order))
    effects, squared = removal_effects(chain), removal_effects(squares)
    visits = chain.starts @ np.linalg.inv(np.eye(len(chain.states)) - chain.steps)
    chance, value, square = visits @ chain.converts, visits @ chain.values, visits @ squares.values
    errors = {}
    for channel, effect in effects.items():
        of_count = math.sqrt(max(0.0, effect.conversions * (1 - effect.conversions)) / (package.WALKS * chance))
        through = squared[channel].value * (1 - effect.value) ** 2 + (1 - squared[channel].value) * effect.value**2
        of_value = math.sqrt(max(0.0, through) * square / package.WALKS) / value if value else 0.0
        errors[channel] = (of_count, of_value)
    return errors


def squares_of(paths: Sequence[Path], chain: Chain, order: int) -> Any:
    """The expected square of the value right after each state; a conversion of a path has the path's mean value."""
    squares, leaving = np.zeros(len(chain.states)), np.zeros(len(chain.states))
    numbers = {state: number for number, state in enumerate(chain.states)}
    for path in paths:
        walk = [numbers[state] for state in states_of(path.touches, order)]
        for number in walk:
            leaving[number] += path.conversions + path.nulls
        if path.conversions:
            squares[walk[-1]] += path.value_cents**2 / path.conversions
    return squares / leaving


def test_the_file_says_what_made_it() -> None:
    made = json.loads(package.RESULTS.read_text(encoding="utf-8"))
    assert made["made_by"].startswith(package.PACKAGE) and made["walks"] == package.WALKS
    assert [paths for paths, _ in kept_results()] == package.path_sets(), "made of other paths: make it anew"


# ── By definition ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ("A", {"A": 10}),
        ("AB", {"A": 5, "B": 5}),
        ("ABC", {"A": 4, "B": 2, "C": 4}),
        ("ABBCA", {"A": 8, "B": 2 * 2 / 3, "C": 2 / 3}),
    ],
)
def test_position_based_is_u_shaped(touches: str, expected: dict[str, float]) -> None:
    credits = position_based([Path(tuple(touches), 10, 1000, 3)])
    assert {channel: each.conversions for channel, each in credits.items()} == pytest.approx(expected)
    assert {channel: each.value_cents / 100 for channel, each in credits.items()} == pytest.approx(expected)


def test_time_decay_adds_up_what_the_paths_say() -> None:
    paths = [Path(("A", "B", "A"), 2, 300, 0, (0.5, 0.5, 1.0), (50, 100, 150)), Path(("B",), 1, 7, 4, (1.0,), (7.0,))]
    credits = time_decay(paths)
    assert {channel: (each.conversions, each.value_cents) for channel, each in credits.items()} == {
        "A": (1.5, 200), "B": (1.5, 107),
    }  # fmt: skip


@st.composite
def paths_on_few_channels(draw: st.DrawFn) -> list[Path]:
    paths = {}
    for touches in draw(st.lists(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=5), min_size=1, max_size=8)):
        conversions, nulls = draw(st.integers(0, 5)), draw(st.integers(0, 9))
        value = draw(st.integers(0, 9_900)) if conversions else 0
        even = 1 / len(touches)
        shares, values = (even * conversions,) * len(touches), (even * value,) * len(touches)
        paths[tuple(touches)] = Path(tuple(touches), conversions, value, nulls, shares, values)
    return list(paths.values())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(paths=paths_on_few_channels(), order=st.integers(1, 3))
def test_every_model_shares_out_all_there_is_and_markov_removes_channels(paths: list[Path], order: int) -> None:
    conversions, value = sum(path.conversions for path in paths), sum(path.value_cents for path in paths)
    for model in (*HEURISTICS.values(), position_based, time_decay, lambda given: markov(given, order)):
        credits = model(paths).values()
        assert sum(each.conversions for each in credits) == pytest.approx(conversions)
        assert sum(each.value_cents for each in credits) == pytest.approx(value)
        assert all(each.conversions >= -1e-9 and each.value_cents >= -1e-9 for each in credits)
    effects = removal_effects(chain_of(paths, order))
    converting, worth = walked(paths, order, "")
    for channel, effect in effects.items():
        left, left_worth = walked(paths, order, channel)
        assert effect.conversions == pytest.approx(1 - left / converting if converting else 0, abs=1e-6)
        assert effect.value == pytest.approx(1 - left_worth / worth if worth else 0, abs=1e-6)


def walked(paths: Sequence[Path], order: int, removed: str) -> tuple[float, float]:
    """How many of all journeys convert, and with what value, when they walk on step by step and every one that comes
    to `removed` is lost: the model's definition, without any algebra."""
    journeys: defaultdict[tuple[str, ...], float] = defaultdict(float)
    after: defaultdict[tuple[str, ...], list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    ended: defaultdict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in paths:
        if count := path.conversions + path.nulls:
            walk = states_of(path.touches, order)
            journeys[walk[0]] += count
            for state, following in itertools.pairwise(walk):
                after[state].append((following, count))
            ended[walk[-1]].append(path)
    converted = worth = 0.0
    while sum(journeys.values()) > 1e-9:
        moved: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for state, count in journeys.items():
            if removed and removed in state:
                continue
            out = sum(many for _, many in after[state]) + sum(path.conversions + path.nulls for path in ended[state])
            for following, many in after[state]:
                moved[following] += count * many / out
            converted += count * sum(path.conversions for path in ended[state]) / out
            worth += count * sum(path.value_cents for path in ended[state]) / out
        journeys = moved
    return converted, worth


def test_no_paths_and_no_conversions_give_nothing() -> None:
    assert markov([]) == {} and linear([]) == {}
    credits = markov([Path(("A", "B"), 0, 0, 5)])
    assert {channel: (each.conversions, each.value_cents) for channel, each in credits.items()} == {
        "A": (0, 0), "B": (0, 0),
    }  # fmt: skip


def test_more_states_than_can_be_solved_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov_module, "MAX_STATES", 2)
    assert markov([Path(("A", "B", "A"), 1, 0, 0)], 2)
    with pytest.raises(TooManyStates) as refused:
        markov([Path(("A", "B", "A", "C"), 1, 0, 0)], 2)
    assert refused.value.states == 3
