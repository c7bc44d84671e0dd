"""What-ifs as callers ask for them, and as JSON documents and CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attribution.whatif import Rules, Sums, WhatIf, Winner, what_if
from reports.access import Viewer
from reports.filters import one_of, read_query
from reports.room import Room
from reports.spreadsheet import csv_answer
from tracker.errors import BadRequest
from tracker.program import MAX_WINDOW_DAYS, Program, percent_hundredths, percent_number

NAMES = ("window_days", "first_tier_percent", "second_tier_percent", "allow_self_referral", "model")
MODELS = tuple(Winner)
YES_OR_NO = ("true", "false")
SUMS = (
    "licenses_now", "licenses_then", "first_tier_now_cents", "first_tier_then_cents", "second_tier_now_cents",
    "second_tier_then_cents", "difference_cents",
)  # fmt: skip
COLUMNS = ("partner_id", *SUMS)


def read_rules(values: Mapping[str, str], program: Program) -> Rules:
    """The program's rules with those that are given in their place. Raises BadRequest that names every bad field."""
    own = rules_texts(Rules.of(program))
    errors: list[dict[str, str]] = []
    found: dict[str, Any] = {}
    for name, read in _READERS.items():
        try:
            found[name] = read(values[name] or own[name])
        except ValueError as error:
            errors.append({"field": name, "message": str(error)})
    if errors:
        raise BadRequest("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)
    return Rules(*found.values())


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_WINDOW_DAYS):
        raise ValueError(f"must be a whole number from 1 to {MAX_WINDOW_DAYS}")
    return int(text)


def _percent(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number from 0 to 100") from None
    return percent_hundredths(number)


def _yes_or_no(text: str) -> bool:
    if text not in YES_OR_NO:
        raise ValueError("must be true or false")
    return text == "true"


def _model(text: str) -> Winner:
    if text not in MODELS:
        raise ValueError(f"must be one of {', '.join(MODELS)}")
    return Winner(text)


_READERS: dict[str, Callable[[str], object]] = {
    "window_days": _days,
    "first_tier_percent": _percent,
    "second_tier_percent": _percent,
    "allow_self_referral": _yes_or_no,
    "model": _model,
}
"""How the text of each rule is read, in the order of the fields of Rules."""


async def outcome(room: Room, rules: Rules) -> WhatIf:
    """What the history gives under `rules`. It reads all of it, so one is computed at a time; others wait."""
    return await room.alone(partial(what_if, room.warehouse, room.program, rules))


async def whatif_call(room: Room, viewer: Viewer, request: Request) -> Response:
    """`GET /v2/reports/whatif`."""
    values = read_query(request, (*NAMES, "format"))
    answer_format = one_of("format", values["format"], ("json", "csv"))
    document = whatif_document(await outcome(room, read_rules(values, room.program)))
    if answer_format == "csv":
        return csv_answer("whatif", COLUMNS, document["items"])
    return JSONResponse(document)


def whatif_document(found: WhatIf) -> dict[str, Any]:
    """A what-if as JSON shows it: `items` with COLUMNS, the greatest differences first."""
    return {
        "now": rules_document(found.now),
        "then": rules_document(found.then),
        "round": found.round,
        "through_load": found.through_load,
        "moved_licenses": found.moved_licenses,
        "total": sums_document(found.total),
        "items": [{"partner_id": one, **sums_document(sums)} for one, sums in found.partners.items()],
    }


def rules_document(rules: Rules) -> dict[str, Any]:
    """Rules under the names that NAMES has, percents as numbers."""
    return {
        "window_days": rules.window_days,
        "first_tier_percent": percent_number(rules.first_tier_percent_hundredths),
        "second_tier_percent": percent_number(rules.second_tier_percent_hundredths),
        "allow_self_referral": rules.allow_self_referral,
        "model": rules.model.value,
    }


def sums_document(sums: Sums) -> dict[str, int]:
    """Sums under the names of SUMS."""
    return {**asdict(sums), "difference_cents": sums.difference_cents}


def rules_texts(rules: Rules) -> dict[str, str]:
    """Rules as query values and forms have them."""
    return {name: _text(value) for name, value in rules_document(rules).items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
