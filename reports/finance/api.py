"""Withdrawals as finance lists and settles them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports.access import Viewer
from reports.balances import Balance, read_balances
from reports.filters import one_of, read_query
from reports.paging import After, read_cursor, read_limit, write_cursor
from reports.periods import read_period
from reports.room import Room
from reports.spreadsheet import csv_answer
from reports.withdrawal_records import PAID, REJECTED, STATUSES, Withdrawal, every_withdrawal
from reports.withdrawals import settle_withdrawal
from tracker.rfc3339 import rfc3339

__all__ = ("COLUMNS", "MAX_ROWS", "STATUSES", "list_withdrawals", "mark_paid", "mark_rejected", "withdrawals_page")

MAX_ROWS = 1000
COLUMNS = (
    "withdrawal_id", "partner_id", "requested_at", "settled_at", "status", "amount_cents", "currency", "invoice_id",
    "paypal", "balance_cents",
)  # fmt: skip
_NAMES = ("status", "partner_id", "date_from", "date_to", "cursor", "limit", "format")


async def list_withdrawals(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, _NAMES)
    as_csv = one_of("format", values["format"], ("json", "csv")) == "csv"
    limit = read_limit(values["limit"], MAX_ROWS, default=MAX_ROWS if as_csv else 100)
    items, next_cursor = await withdrawals_page(
        room, one_of("status", values["status"], ("all", *STATUSES)), limit, values["cursor"],
        partner_id=values["partner_id"], date_from=values["date_from"], date_to=values["date_to"],
    )  # fmt: skip
    if as_csv:
        return csv_answer("withdrawals", COLUMNS, items)
    return JSONResponse({"items": items, "next_cursor": next_cursor})


async def mark_paid(room: Room, viewer: Viewer, request: Request) -> Response:
    return await _settle(room, request, PAID)


async def mark_rejected(room: Room, viewer: Viewer, request: Request) -> Response:
    return await _settle(room, request, REJECTED)


async def withdrawals_page(
    room: Room, status: str, limit: int, cursor: str = "", partner_id: str = "", date_from: str = "", date_to: str = ""
) -> tuple[list[dict[str, Any]], str | None]:
    """Withdrawals as documents, latest first, and the cursor of the next page; `status` may be `all`."""
    period = read_period(date_from, date_to)
    before = read_cursor(cursor).moment
    found: list[Withdrawal] = []
    async for one in every_withdrawal(room, before, "" if status == "all" else status, partner_id):
        if period.from_ms <= one.requested_at < period.to_ms:
            found.append(one)
        if len(found) > limit:
            break
    has_more, found = len(found) > limit, found[:limit]
    return await _documents(room, found), write_cursor(After(found[-1].number)) if has_more else None


async def _settle(room: Room, request: Request, status: str) -> Response:
    settled = await settle_withdrawal(room, request.path_params["withdrawal_id"], status)
    return JSONResponse((await _documents(room, [settled]))[0])


async def _documents(room: Room, found: Sequence[Withdrawal]) -> list[dict[str, Any]]:
    balances = await read_balances(room, [one.partner_id for one in found])
    return [_document(one, balances[one.partner_id], room.program.currency) for one in found]


def _document(one: Withdrawal, balance: Balance, currency: str) -> dict[str, Any]:
    return {
        "withdrawal_id": one.number,
        "partner_id": one.partner_id,
        "requested_at": rfc3339(one.requested_at),
        "settled_at": rfc3339(one.settled_at) if one.settled_at else None,
        "status": one.status,
        "amount_cents": one.amount_cents,
        "currency": currency,
        "invoice_id": one.invoice_id,
        "paypal": one.paypal,
        "balance_cents": balance.balance_cents,
    }
