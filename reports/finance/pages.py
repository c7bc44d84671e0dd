"""The withdrawals page: what waits for finance, and settling it after a second look."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from reports import pages
from reports.access import Viewer, read_form
from reports.filters import one_of, read_query
from reports.finance.api import COLUMNS, MAX_ROWS, withdrawals_page
from reports.room import Room
from reports.spreadsheet import csv_answer
from reports.withdrawal_records import PAID, PENDING, REJECTED, STATUSES, find_withdrawal
from reports.withdrawals import settle_withdrawal
from tracker.errors import NotFound

ROWS_SHOWN = 100
TABS = {PENDING: "Waiting", PAID: "Paid", REJECTED: "Rejected", "all": "All"}


async def withdrawals(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("status", "cursor", "settled"))
    status = one_of("status", values["status"], tuple(TABS))
    items, next_cursor = await withdrawals_page(room, status, ROWS_SHOWN, values["cursor"])
    settled = await _settled(room, values["settled"])
    older = urlencode({"status": status, "cursor": next_cursor}) if next_cursor else ""
    return await pages.show(
        request, "finance/withdrawals.html", items=items, chosen=status, tabs=TABS, settled=settled, older=older,
        is_first=not values["cursor"],
    )  # fmt: skip


async def withdrawals_csv(room: Room, viewer: Viewer, request: Request) -> Response:
    """The page's table as a download, up to MAX_ROWS of the latest."""
    status = one_of("status", read_query(request, ("status",))["status"], tuple(TABS))
    items, _ = await withdrawals_page(room, status, MAX_ROWS)
    return csv_answer(f"withdrawals-{status}", COLUMNS, items)


async def confirm(room: Room, viewer: Viewer, request: Request) -> Response:
    """Asks once more before a withdrawal is settled."""
    number, status = _wanted(request)
    found = await find_withdrawal(room, number)
    if found is None:
        raise NotFound(f"There is no withdrawal {number}.")
    return await pages.show(
        request, "finance/confirm.html", asked=found, chosen=status, is_waiting=found.status == PENDING
    )


async def settle(room: Room, viewer: Viewer, request: Request) -> Response:
    await read_form(room, viewer, request)
    number, status = _wanted(request)
    await settle_withdrawal(room, number, status)
    return RedirectResponse(f"/finance/?settled={number}", 303)


async def _settled(room: Room, number: str) -> Any:
    """The withdrawal that was settled just now, so that the page can say so; None without one."""
    is_number = number.isascii() and number.isdigit() and len(number) < 16
    return await find_withdrawal(room, int(number)) if is_number else None


def _wanted(request: Request) -> tuple[int, str]:
    status = request.path_params["status"]
    if status not in STATUSES or status == PENDING:
        raise NotFound("There is nothing at this address.")
    return request.path_params["withdrawal_id"], status
