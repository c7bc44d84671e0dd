"""How a partner is paid: what is available and why not more (R18), asking for it, and what it is billed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from reports.access import Viewer, read_form
from reports.balances import Balance, balance_with, read_balance
from reports.filters import read_query
from reports.partner_api.contract import CONTRACT_OPERATIONS, JSON
from reports.partner_api.profile import BILLING, read_billing, save_billing
from reports.partner_api.schemas import schema_errors
from reports.partner_app.pages import show_subject, subject_of
from reports.room import Room
from reports.withdrawal_records import withdrawals_of
from reports.withdrawals import Seen, invoice_id, request_withdrawal
from reports.wording import money
from tracker.errors import Conflict, Forbidden, Unavailable
from tracker.program import Program

ROWS_SHOWN = 200
BILLING_REQUIRED = ("type", "company", "address", "city", "country", "paypal")


async def withdrawals(room: Room, viewer: Viewer, request: Request) -> Response:
    asked = read_query(request, ("asked", "saved"))
    return await _page(room, viewer, request, asked_for=asked["asked"], is_saved=bool(asked["saved"]))


async def confirm(room: Room, viewer: Viewer, request: Request) -> Response:
    """Shows the amount and where it goes once more, before it is asked for."""
    read_query(request, ())
    subject = await subject_of(room, viewer, request)
    balance = await read_balance(room, viewer.partner_id)
    details = await read_billing(room, viewer.partner_id)
    return await show_subject(
        request,
        subject,
        "partner/withdrawal_new.html",
        balance=balance,
        billing=details,
        obstacles=obstacles(balance, details, room.program),
        invoice=invoice_id(viewer.partner_id, room.now_ms()),
    )


async def ask(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /partner/withdrawals/new`: asks for what the page had shown."""
    form = await read_form(room, viewer, request)
    shown = str(form.get("amount_cents", ""))
    is_amount = shown.isascii() and shown.isdigit() and len(shown) < 16
    seen = Seen(int(shown) if is_amount else 0, str(form.get("paypal", "")))
    try:
        made = await request_withdrawal(room, viewer.partner_id, seen)
    except (Forbidden, Conflict) as problem:
        return await _page(room, viewer, request, problem.status, problem=problem.detail)
    except Unavailable as problem:
        return await _page(room, viewer, request, 503, problem=problem.detail)
    return RedirectResponse(f"/partner/withdrawals?asked={made.number}", 303)


async def billing(room: Room, viewer: Viewer, request: Request) -> Response:
    read_query(request, ())
    return await _billing_page(room, viewer, request, await read_billing(room, viewer.partner_id))


async def change_billing(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /partner/billing`: by the rules of the Partner API's own operation."""
    form = await read_form(room, viewer, request)
    given = {name: str(form.get(name, "")).strip() for name in BILLING}
    given["country"] = given["country"].upper()
    said = {name: value for name, value in given.items() if value or name in BILLING_REQUIRED}
    wrong = schema_errors(CONTRACT_OPERATIONS["update_billing"].bodies[JSON], said)
    if wrong:
        errors = {one["field"]: f"{one['message'][:1].upper()}{one['message'][1:]}." for one in wrong}
        if "country" in errors:
            errors["country"] = "Must be two letters, such as PL."
        return await _billing_page(room, viewer, request, given, 400, errors)
    await save_billing(room, viewer.partner_id, said)
    return RedirectResponse("/partner/withdrawals?saved=billing", 303)


def obstacles(balance: Balance, billing: Mapping[str, str], program: Program) -> list[str]:
    """Why a partner can't ask for money now, in sentences; empty where they can."""
    least = program.minimum_withdrawal_cents
    found = []
    if balance.balance_cents < 0:
        found.append(
            "Money that you had withdrawn was refunded to clients. What you earn next makes up for it first, and you "
            f"can ask again once {money(least, program.currency)} is available."
        )
    elif balance.balance_cents < least:
        missing = money(least - balance.balance_cents, program.currency)
        found.append(f"A withdrawal is {money(least, program.currency)} or more: {missing} is missing.")
    if not billing["paypal"]:
        found.append("We do not know yet where the money goes: save your billing details.")
    return found


async def _page(
    room: Room,
    viewer: Viewer,
    request: Request,
    status: int = 200,
    problem: str = "",
    asked_for: str = "",
    is_saved: bool = False,
) -> Response:
    subject = await subject_of(room, viewer, request)
    partner_id = subject.partner.partner_id
    rows = await withdrawals_of(room, partner_id)
    balance = await balance_with(room, partner_id, rows)
    details = await read_billing(room, partner_id)
    return await show_subject(
        request,
        subject,
        "partner/withdrawals.html",
        status,
        balance=balance,
        billing=details,
        obstacles=obstacles(balance, details, room.program),
        rows=rows[:ROWS_SHOWN],
        made=next((one for one in rows if str(one.number) == asked_for), None),
        is_saved=is_saved,
        problem=problem,
    )


async def _billing_page(
    room: Room,
    viewer: Viewer,
    request: Request,
    filled: Mapping[str, str],
    status: int = 200,
    errors: Mapping[str, str] | None = None,
) -> Response:
    subject = await subject_of(room, viewer, request)
    values: dict[str, Any] = {"filled": filled, "errors": errors or {}, "required": BILLING_REQUIRED}
    return await show_subject(request, subject, "partner/billing.html", status, **values)
