"""Multi-touch models side by side: what is asked for, and what each model gives each partner, campaign or product.

Information for marketing: commission stays with the last touch (R2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attribution.markov import TooManyStates, markov
from attribution.multi_touch import Credits, Path, first_touch, last_touch, linear, merged, position_based, time_decay
from attribution.paths import By, Conversion, Paths, PathsWanted, read_paths
from attribution.warehouse import Warehouse
from reports.access import Viewer
from reports.filters import one_of, read_query
from reports.periods import read_period
from reports.room import Room
from reports.spreadsheet import csv_answer
from tracker.errors import BadRequest
from tracker.program import Program

MODELS = ("last", "first", "linear", "time_decay", "position", "markov")
GROUPINGS = tuple(By)
CONVERSIONS = tuple(Conversion)
ORDERS = ("1", "2", "3")
FILTERS = ("date_from", "date_to", "by", "conversion", "product", "half_life_days", "order")
COLUMNS = (
    "group", "model", "conversions", "revenue_cents", "difference_conversions", "difference_revenue_cents",
)  # fmt: skip

DEFAULT_HALF_LIFE_DAYS = 7.0
MAX_HALF_LIFE_DAYS = 365.0
MAX_MARKOV_CHANNELS = 1_000  # of more, the Markov model takes the rarer ones as one
DECIMALS = 4  # of shared conversions


@dataclass(frozen=True, slots=True)
class ModelsRequest:
    """Which paths, and which models of them; `order` is the Markov model's."""

    paths: PathsWanted
    models: tuple[str, ...]
    order: int


@dataclass(frozen=True, slots=True)
class Given:
    """What a model gives a group: conversions with DECIMALS decimals, and whole cents."""

    conversions: float
    revenue_cents: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models side by side: model → group → what it gives. `last` is always among them; groups are in its order.

    Each model's cents add up to the revenue of all paths that were read."""

    paths: Paths
    groups: Sequence[str]
    given: Mapping[str, Mapping[str, Given]]

    def items(self, models: Sequence[str]) -> list[dict[str, Any]]:
        """One item with the keys of COLUMNS per group and model; a model says nothing of groups it does not know."""
        nothing = Given(0, 0)
        found = []
        for group in self.groups:
            last = self.given["last"].get(group, nothing)
            for model in models:
                if given := self.given[model].get(group):
                    difference = round(given.conversions - last.conversions, DECIMALS)
                    numbers = (given.conversions, given.revenue_cents, difference)
                    values = (group, model, *numbers, given.revenue_cents - last.revenue_cents)
                    found.append(dict(zip(COLUMNS, values, strict=True)))
        return found

    def about_paths(self) -> dict[str, int]:
        """The paths in numbers, and what of them is not in the models."""
        whole = asdict(self.paths)
        whole["distinct"] = len(whole.pop("paths"))
        whole["revenue_cents"] = whole.pop("value_cents")
        return whole


def read_models(values: Mapping[str, str], model: str = "") -> ModelsRequest:
    """Models as query values ask for them; all of them unless one is named. Raises BadRequest that names the field."""
    period = read_period(values["date_from"], values["date_to"])
    asked = one_of("model", model, ("all", *MODELS))
    return ModelsRequest(
        PathsWanted(
            period.from_ms,
            period.to_ms,
            By(one_of("by", values["by"], GROUPINGS)),
            Conversion(one_of("conversion", values["conversion"], CONVERSIONS)),
            values["product"],
            _half_life(values["half_life_days"]),
        ),
        MODELS if asked == "all" else (asked,),
        int(one_of("order", values["order"], ORDERS)),
    )


async def compare(room: Room, asked: ModelsRequest) -> Comparison:
    """The asked models, and the last touch. It may read much of the history, so one is computed at a time; others wait.

    Raises BadRequest where the paths are too many for the Markov order.
    """
    return await room.alone(partial(_compare, room.warehouse, room.program, asked))


async def models_call(room: Room, viewer: Viewer, request: Request) -> Response:
    """`GET /v2/reports/models`."""
    values = read_query(request, (*FILTERS, "model", "format"))
    asked = read_models(values, values["model"])
    answer_format = one_of("format", values["format"], ("json", "csv"))
    comparison = await compare(room, asked)
    items = comparison.items(asked.models)
    if answer_format == "csv":
        return csv_answer(f"models-by-{asked.paths.by}", COLUMNS, items)
    return JSONResponse({"items": items, "paths": comparison.about_paths()})


def _compare(warehouse: Warehouse, program: Program, asked: ModelsRequest) -> Comparison:
    paths = read_paths(warehouse, program, asked.paths)
    credits = {name: _credits(name, paths.paths, asked.order) for name in dict.fromkeys(("last", *asked.models))}
    revenue_cents = sum(path.value_cents for path in paths.paths)
    given = {name: _rounded(each, revenue_cents) for name, each in credits.items()}
    groups = dict.fromkeys(group for each in given.values() for group in each)
    nothing = Given(0, 0)

    def weight(group: str) -> tuple[float, int, str]:
        last = given["last"].get(group, nothing)
        return -last.conversions, -last.revenue_cents, group

    return Comparison(paths, sorted(groups, key=weight), given)


def _credits(model: str, paths: Sequence[Path], order: int) -> Credits:
    if model == "markov":
        if len({channel for path in paths for channel in path.touches}) > MAX_MARKOV_CHANNELS:
            paths = merged(paths, MAX_MARKOV_CHANNELS)
        try:
            return markov(paths, order)
        except TooManyStates as many:
            message = (
                f"{order} gives {many.states:,} states on these paths, more than can be solved; "
                "take a lower order, a shorter period, or another grouping"
            )
            raise BadRequest(f"order: {message}", [{"field": "order", "message": message}]) from None
    models = {
        "last": last_touch,
        "first": first_touch,
        "linear": linear,
        "time_decay": time_decay,
        "position": position_based,
    }
    return models[model](paths)


def _rounded(credits: Credits, revenue_cents: int) -> dict[str, Given]:
    """Credits in whole cents that add up to the revenue: the largest remainders get the cents that are left over."""
    cents = {group: int(credit.value_cents // 1) for group, credit in credits.items()}
    by_remainder = sorted(credits, key=lambda group: cents[group] - credits[group].value_cents)
    for group in by_remainder[: max(0, revenue_cents - sum(cents.values()))]:
        cents[group] += 1
    return {group: Given(round(credit.conversions, DECIMALS), cents[group]) for group, credit in credits.items()}


def _half_life(text: str) -> float:
    try:
        days = float(text) if text else DEFAULT_HALF_LIFE_DAYS
    except ValueError:
        days = 0.0
    if not 0.01 <= days <= MAX_HALF_LIFE_DAYS:  # false for NaN too
        message = f"must be a number of days from 0.01 to {MAX_HALF_LIFE_DAYS:.0f}"
        raise BadRequest(f"half_life_days: {message}", [{"field": "half_life_days", "message": message}])
    return days
