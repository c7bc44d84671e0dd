"""The page that compares multi-touch models: filters, a column a model with its difference to the last touch, help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from attribution.multi_touch import OTHERS
from attribution.paths import MAX_TOUCHES
from reports import pages, wording
from reports.access import Viewer
from reports.filters import one_of, read_query
from reports.marketing.models import (
    COLUMNS,
    CONVERSIONS,
    FILTERS,
    GROUPINGS,
    MAX_MARKOV_CHANNELS,
    MODELS,
    ORDERS,
    Comparison,
    Given,
    compare,
    read_models,
)
from reports.marketing.presets import preset_links, presets, read_values
from reports.room import Room
from reports.spreadsheet import csv_answer
from tracker.errors import BadRequest

NAMES = (*FILTERS, "measure")
MEASURES = {"conversions": "Conversions", "revenue_cents": "Revenue"}
MAX_ROWS_SHOWN = 200  # the CSV has them all
DEFAULT_PRESET = 2  # last 90 days

MODEL_NAMES = {
    "last": "Last touch",
    "first": "First touch",
    "linear": "Linear",
    "time_decay": "Time decay",
    "position": "Position based",
    "markov": "Markov",
}
MODEL_HELP = {
    "last": "All to the last click before the signup. This is the program's own rule, and what commission is paid by.",
    "first": "All to the first click in the window: who made the product known.",
    "linear": "The same share to every click on the way.",
    "time_decay": "Newer clicks get more: a click's weight halves with each half-life that lies between it and the "
    "last click.",
    "position": "40 % to the first and to the last click, 20 % evenly to those between. Of two clicks each gets half.",
    "markov": "What would be lost without it: from all paths, those that led nowhere included, it is computed how many "
    "signups would not have come if everybody who came upon this link had turned away. The order says how many "
    "clicks back the model remembers.",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What a model gives a group, written out: its number, and how much more or less than the last touch gives."""

    number: str
    difference: str
    is_less: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One group; a cell per model in the order of MODELS, None where the model has merged the group with others.

    `is_others`: what was merged, which the other models tell apart."""

    group: str
    is_others: bool
    cells: Sequence[Cell | None]


async def models_page(room: Room, viewer: Viewer, request: Request) -> Response:
    shortcuts = presets(room.now_ms())
    comparison, message, status, measure = None, "", 200, "conversions"
    try:
        values = read_values(request, NAMES, shortcuts[DEFAULT_PRESET])
        measure = one_of("measure", values["measure"], tuple(MEASURES))
        comparison = await compare(room, read_models(values))
    except BadRequest as problem:
        message, status = problem.detail, 400
        values = {name: request.query_params.get(name, "")[:100] for name in NAMES}
    kept = {name: value for name, value in values.items() if value}
    return await pages.show(
        request,
        "marketing/models.html",
        status,
        values=values,
        message=message,
        presets=preset_links(shortcuts, values),
        groupings=GROUPINGS,
        conversions=CONVERSIONS,
        orders=ORDERS,
        measures=MEASURES,
        measure=measure,
        models=MODEL_NAMES,
        help=MODEL_HELP,
        paths=comparison.paths if comparison else None,
        rows=rows(comparison, measure, room.program.currency) if comparison else [],
        left_off=max(0, len(comparison.groups) - MAX_ROWS_SHOWN) if comparison else 0,
        touches_per_path=_touches_per_path(comparison) if comparison else "",
        limits=limits(comparison) if comparison else [],
        csv_query=urlencode({name: value for name, value in kept.items() if name != "measure"}),
    )


async def models_csv(room: Room, viewer: Viewer, request: Request) -> Response:
    """The page's table as a download, one line per group and model."""
    asked = read_models(read_query(request, NAMES))
    comparison = await compare(room, asked)
    return csv_answer(f"models-by-{asked.paths.by}", COLUMNS, comparison.items(asked.models))


def rows(comparison: Comparison, measure: str, currency: str) -> list[Row]:
    """The groups that are shown, with what each model gives them."""
    write: Callable[[float], str] = wording.tenths
    if measure == "revenue_cents":
        write = lambda cents: wording.money(round(cents), currency)  # noqa: E731
    nothing = Given(0, 0)
    lasts = {group: _number(comparison.given["last"].get(group, nothing), measure) for group in comparison.groups}
    groups, shown = sorted(comparison.groups, key=lambda group: -lasts[group])[:MAX_ROWS_SHOWN], []
    if OTHERS in comparison.given["markov"] and OTHERS not in groups:
        groups.append(OTHERS)
    for group in groups:
        given = [comparison.given[model].get(group) for model in MODELS]
        shown.append(
            Row(
                group,
                group == OTHERS,
                [_cell(_number(one, measure), lasts[group], write) if one else None for one in given],
            )
        )
    return shown


def limits(comparison: Comparison) -> list[str]:
    """What of these paths is not in the models, or only in part, in sentences."""
    paths, found = comparison.paths, []
    if paths.null_shares > 1:
        found.append(
            f"Of the visitors who did not sign up, one in {paths.null_shares:,} was looked at and counted "
            f"{paths.null_shares:,} times. Only the Markov model looks at them."
        )
    if paths.paths_left_out:
        found.append(
            f"{wording.count(paths.paths_left_out)} rare paths are left out, with "
            f"{wording.count(paths.conversions_left_out)} of {wording.count(paths.conversions)} conversions."
        )
    if paths.shortened:
        found.append(
            f"{wording.count(paths.shortened)} paths had more than {MAX_TOUCHES} clicks; their first and their newest "
            f"{MAX_TOUCHES - 1} count."
        )
    if OTHERS in comparison.given["markov"]:
        found.append(
            f"The Markov model tells {MAX_MARKOV_CHANNELS - 1:,} of {len(comparison.groups) - 1:,} groups apart, those "
            f"with most conversions on their paths; the rest it takes as one, “{OTHERS}”."
        )
    return found


def _number(given: Given, measure: str) -> float:
    return given.conversions if measure == "conversions" else given.revenue_cents


def _cell(number: float, last: float, write: Callable[[float], str]) -> Cell:
    text, difference = write(number), number - last
    written = write(abs(difference))
    if written == write(0):
        return Cell(text, "", False)
    return Cell(text, f"{'−' if difference < 0 else '+'}{written}", difference < 0)


def _touches_per_path(comparison: Comparison) -> str:
    paths = comparison.paths.paths
    conversions = sum(path.conversions for path in paths)
    touches = sum(path.conversions * len(path.touches) for path in paths)
    return f"{touches / conversions:.1f}" if conversions else "–"
