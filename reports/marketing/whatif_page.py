"""The page of what-ifs: a form of the rules, the totals, and a table of the partners by how much would change."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from attribution.whatif import Rules
from reports import pages
from reports.access import Viewer
from reports.filters import read_query
from reports.marketing.whatif import (
    COLUMNS,
    MODELS,
    NAMES,
    outcome,
    read_rules,
    rules_texts,
    whatif_document,
)
from reports.room import Room
from reports.spreadsheet import csv_answer
from tracker.errors import BadRequest

MAX_ROWS_SHOWN = 200  # the CSV has them all


async def whatif_page(room: Room, viewer: Viewer, request: Request) -> Response:
    """The form alone at first: an answer takes seconds, so it is only computed when it is asked for."""
    found, message, status = None, "", 200
    try:
        values = read_query(request, NAMES)
        if any(values.values()):
            found = whatif_document(await outcome(room, read_rules(values, room.program)))
    except BadRequest as problem:
        message, status = problem.detail, 400
        values = {name: request.query_params.get(name, "")[:100] for name in NAMES}
    kept = {name: value for name, value in values.items() if value}
    changed = [item for item in found["items"] if item["difference_cents"]] if found else []
    return await pages.show(
        request,
        "marketing/whatif.html",
        status,
        values={**rules_texts(Rules.of(room.program)), **kept},
        message=message,
        models=MODELS,
        found=found,
        items=changed[:MAX_ROWS_SHOWN],
        left_off=max(0, len(changed) - MAX_ROWS_SHOWN),
        unchanged=len(found["items"]) - len(changed) if found else 0,
        csv_query=urlencode(kept),
    )


async def whatif_csv(room: Room, viewer: Viewer, request: Request) -> Response:
    """The page's table as a download, with the partners for whom nothing would change."""
    rules = read_rules(read_query(request, NAMES), room.program)
    return csv_answer("whatif", COLUMNS, whatif_document(await outcome(room, rules))["items"])
