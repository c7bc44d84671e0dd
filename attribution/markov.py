"""The Markov model of attribution: a channel is worth the conversions that would be lost without it.

After E. Anderl, I. Becker, F. von Wangenheim and J. H. Schumann, "Mapping the customer journey: Lessons learned from
graph-based online attribution modeling", International Journal of Research in Marketing 33 (2016) 457–474. Journeys
are walks on a graph: from the start over states to a conversion or to nothing (null). A state of a model of order k is
the newest k touches. The chance of a step is its share of all steps that left the same state on the paths; a state
that repeats itself counts as one visit.

The removal effect of a channel is the share of converting walks that pass through it. Channels share all conversions in
proportion to their removal effects. With Q the steps among states, u the start, c each state's chance to convert next:

    F = (I − Q)⁻¹               F[i,j]: how often a walk from i is expected in j
    b = F c                     the chance to convert from each state
    h F[C,C] = (u F)[C]         h: the chance that the first state of the set C that a walk reaches is this one
    removal effect of C = h · b[C] / u · b

for C the states that hold the channel. For value, c is replaced by c times the mean value of the conversions that
followed the state.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.multi_touch import Credit, Credits, Path

MAX_STATES = 2_000
"""The chain is solved as a dense matrix of states by states: 32 MB and about a second at the most."""

State = tuple[str, ...]
Vector = NDArray[np.float64]


class TooManyStates(ValueError):
    """The paths have more states than can be solved. `states` says how many."""

    def __init__(self, states: int) -> None:
        super().__init__(f"{states} states")
        self.states = states


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain that paths make. Rows are chances: of one state or the start they add up to 1.

    `starts[i]`, `steps[i, j]`, `converts[i]`: the chances of state i to be first, of j to follow i, and of a conversion
    to follow i. `values[i]`: the value in cents to be expected right after i.
    """

    states: Sequence[State]
    starts: Vector
    steps: NDArray[np.float64]
    converts: Vector
    values: Vector


@dataclass(frozen=True, slots=True)
class RemovalEffect:
    """The share of all conversions, and of all value, that passes through a channel. 0 where there is none."""

    conversions: float
    value: float


def markov(paths: Sequence[Path], order: int = 1) -> Credits:
    """Credits in proportion to the removal effects of a chain of `order`. Raises TooManyStates."""
    effects = removal_effects(chain_of(paths, order))
    conversions = _scale(sum(path.conversions for path in paths), (each.conversions for each in effects.values()))
    value = _scale(sum(path.value_cents for path in paths), (each.value for each in effects.values()))
    return {
        channel: Credit(conversions * effect.conversions, value * effect.value) for channel, effect in effects.items()
    }


def chain_of(paths: Sequence[Path], order: int) -> Chain:
    """The chain of all journeys on `paths`. Raises TooManyStates."""
    numbers: dict[State, int] = {}
    starts: defaultdict[int, int] = defaultdict(int)
    steps: defaultdict[tuple[int, int], int] = defaultdict(int)
    leaving: defaultdict[int, int] = defaultdict(int)
    converting: defaultdict[int, int] = defaultdict(int)
    values: defaultdict[int, int] = defaultdict(int)
    for path in paths:
        journeys = path.conversions + path.nulls
        if not journeys:
            continue
        walk = [numbers.setdefault(state, len(numbers)) for state in states_of(path.touches, order)]
        starts[walk[0]] += journeys
        for step in itertools.pairwise(walk):
            steps[step] += journeys
        for state in walk:
            leaving[state] += journeys
        converting[walk[-1]] += path.conversions
        values[walk[-1]] += path.value_cents
    if len(numbers) > MAX_STATES:
        raise TooManyStates(len(numbers))
    left = _vector(len(numbers), leaving)
    matrix = np.zeros((len(numbers), len(numbers)))
    for (before, after), journeys in steps.items():
        matrix[before, after] = journeys / left[before]
    first = _vector(len(numbers), starts)
    return Chain(
        list(numbers),
        first / (first.sum() or 1),
        matrix,
        _vector(len(numbers), converting) / left,
        _vector(len(numbers), values) / left,
    )


def states_of(touches: Sequence[str], order: int) -> list[State]:
    """The states that a path visits: each run of `order` touches (a shorter path is one state), no repeats in a row."""
    windows = [tuple(touches[start : start + order]) for start in range(max(1, len(touches) - order + 1))]
    return [state for before, state in zip([(), *windows], windows, strict=False) if state != before]


def removal_effects(chain: Chain) -> Mapping[str, RemovalEffect]:
    """Every channel's removal effect."""
    visits = np.linalg.inv(np.eye(len(chain.states)) - chain.steps)
    from_start = chain.starts @ visits
    outcomes = visits @ np.column_stack([chain.converts, chain.values])
    expected = chain.starts @ outcomes
    effects = {}
    for channel, members in _members(chain.states).items():
        reached_first = np.linalg.solve(visits[np.ix_(members, members)].T, from_start[members])
        passing = reached_first @ outcomes[members]
        effects[channel] = RemovalEffect(
            *(float(part / whole) if whole > 0 else 0.0 for part, whole in zip(passing, expected, strict=True))
        )
    return effects


def _scale(total: int, effects: Iterable[float]) -> float:
    """What an effect of 1 gets, so that all get `total`."""
    return total / (sum(effects) or 1.0)


def _members(states: Sequence[State]) -> Mapping[str, list[int]]:
    """Channel → the numbers of the states that hold it."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for number, state in enumerate(states):
        for channel in set(state):
            members[channel].append(number)
    return members


def _vector(length: int, numbers: Mapping[int, int]) -> Vector:
    found = np.zeros(length)
    for place, number in numbers.items():
        found[place] = number
    return found
