"""Multi-touch models: how the conversions at the end of paths are shared out among the channels on the way.

They inform marketing and nothing else: commission goes by the last touch alone (R2). Every function here is pure and
takes paths that `paths.py` has read; all but Markov's, which is in `markov.py`, give each path's conversions and value
to the touches of that path.

What first, last and linear touch and the Markov model give is held against the package ChannelAttribution by
`tests/attribution/test_multi_touch.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

ENDS_SHARE = 0.4
"""What each end of a path gets by its position; the touches between share what is left."""


OTHERS = "(others)"
"""What rare channels are called where only so many can be told apart."""


@dataclass(frozen=True, slots=True)
class Path:
    """Every journey that went through the same channels in the same order.

    `touches` are channels, oldest first, at least one. `conversions` of the journeys converted, with `value_cents` in
    sum; `nulls` did not. `decayed` has each touch's share by its age, summed over the conversions, so that it adds up
    to them; `decayed_value_cents` the same, of the value.
    """

    touches: tuple[str, ...]
    conversions: int
    value_cents: int
    nulls: int
    decayed: tuple[float, ...] = ()
    decayed_value_cents: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Credit:
    """What a model gives a channel."""

    conversions: float
    value_cents: float


Credits = Mapping[str, Credit]
"""Channel → its credit, for every channel on a path. A model's credits add up to all conversions and all value."""


def last_touch(paths: Iterable[Path]) -> Credits:
    """All to the last touch: R2's own view."""
    return _by_weight(paths, lambda touches: [0.0] * (touches - 1) + [1.0])


def first_touch(paths: Iterable[Path]) -> Credits:
    """All to the first touch."""
    return _by_weight(paths, lambda touches: [1.0] + [0.0] * (touches - 1))


def linear(paths: Iterable[Path]) -> Credits:
    """1/n to each of n touches; a channel that was touched twice gets two shares."""
    return _by_weight(paths, lambda touches: [1 / touches] * touches)


def position_based(paths: Iterable[Path]) -> Credits:
    """The U shape: 40 % to each end and 20 % evenly between; of two touches 50 % each, a single one has it all.

    As Google Analytics defined its "position based" model.
    """
    return _by_weight(paths, _u_shape)


def time_decay(paths: Iterable[Path]) -> Credits:
    """A touch of age a weighs 2^(−a / half-life), and the weights of a path are scaled to 1.

    As Google Analytics defined its "time decay" model, with a half-life of 7 days unless asked otherwise. Ages differ
    among journeys of one path, so the query that gathers the paths sums the shares (`Path.decayed`).
    """
    conversions: defaultdict[str, float] = defaultdict(float)
    values: defaultdict[str, float] = defaultdict(float)
    for path in paths:
        for channel, share, value in zip(path.touches, path.decayed, path.decayed_value_cents, strict=True):
            conversions[channel] += share
            values[channel] += value
    return {channel: Credit(conversions[channel], values[channel]) for channel in conversions}


def merged(paths: Sequence[Path], most: int) -> list[Path]:
    """The same journeys on at most `most` channels: those with most conversions on their paths, and OTHERS.

    Shares by age are not kept.
    """
    touched: Counter[str] = Counter()
    for path in paths:
        for channel in set(path.touches):
            touched[channel] += path.conversions
    kept = {channel for channel, _ in touched.most_common(most - 1)}
    sums: dict[tuple[str, ...], Path] = {}
    for path in paths:
        touches = tuple(channel if channel in kept else OTHERS for channel in path.touches)
        so_far = sums.get(touches, Path(touches, 0, 0, 0))
        sums[touches] = Path(
            touches,
            so_far.conversions + path.conversions,
            so_far.value_cents + path.value_cents,
            so_far.nulls + path.nulls,
        )
    return list(sums.values())


def _u_shape(touches: int) -> list[float]:
    if touches < 3:
        return [1 / touches] * touches
    between = (1 - 2 * ENDS_SHARE) / (touches - 2)
    return [ENDS_SHARE, *[between] * (touches - 2), ENDS_SHARE]


def _by_weight(paths: Iterable[Path], weigh: Callable[[int], Sequence[float]]) -> Credits:
    """Credits by the weights that `weigh` gives a path of so many touches; they add up to 1."""
    conversions: defaultdict[str, float] = defaultdict(float)
    values: defaultdict[str, float] = defaultdict(float)
    for path in paths:
        for channel, weight in zip(path.touches, weigh(len(path.touches)), strict=True):
            conversions[channel] += weight * path.conversions
            values[channel] += weight * path.value_cents
    return {channel: Credit(conversions[channel], values[channel]) for channel in conversions}
