"""A partner's commission by program and product, and by day, as several operations show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from attribution.commission import Payment, discount_cents
from reports.balances import read_balance
from reports.partner_api.asked import ALL
from reports.partner_api.dates import money
from reports.periods import Period
from reports.room import Room
from tracker.program import DAY_MS

LATELY_DAYS = 30
PARTNER_PROGRAM = "partner_program"
PROGRAMS = ("affiliate", "solution")


async def commission_days(
    room: Room, partner_id: str, period: Period, product: str = ALL, program: str = ALL, referred: bool = False
) -> list[tuple[date, int]]:
    """Days of the period with their cents, where there are any.

    `referred`: only what referred partners brought in, by the program and product of the license that paid; all of it
    is of `partner_program`. Otherwise that is the product of the second tier, in the affiliate program.
    """
    rows = await room.rows(
        "partner_commission_days",
        partner_id=partner_id,
        from_ms=period.from_ms,
        to_ms=period.to_ms,
        product="" if product == ALL or (referred and product == PARTNER_PROGRAM) else product,
        program="" if program == ALL else program,
        referred=int(referred),
    )
    return [(date.fromisoformat(row["day_text"]), int(row["commission_cents"])) for row in rows]


def metric(days: Sequence[tuple[date, int]]) -> dict[str, Any]:
    """A metric's document of days' cents."""
    return {"value": money(sum(cents for _, cents in days))}


async def earnings_document(room: Room, partner_id: str) -> dict[str, Any]:
    """Commission and balances, split by program and product."""
    since_ms = room.now_ms() - LATELY_DAYS * DAY_MS
    rows = await room.rows("partner_earnings", partner_id=partner_id, since_ms=since_ms)
    cents = {
        (row["program"], row["earned_with"]): (int(row["commission_cents"]), int(row["lately_cents"])) for row in rows
    }
    saved = await _discounts(room, partner_id)
    balance = await read_balance(room, partner_id)
    affiliate, solution = (_program(room, cents, program) for program in PROGRAMS)
    for product in licensed_products(room):
        solution[product]["discount"] = money(saved.get(product, 0))
    return {
        "balance": money(balance.balance_cents),
        "blocked": money(balance.blocked_cents),
        **_totals(list(cents.values())),
        "withdrawals": money(balance.withdrawn_cents),
        "pending": money(balance.pending_cents),
        "affiliate": {**affiliate, PARTNER_PROGRAM: _totals([cents.get(("affiliate", PARTNER_PROGRAM), (0, 0))])},
        "solution": solution,
    }


def licensed_products(room: Room) -> list[str]:
    """The products that clients hold licenses for."""
    return [product for product in room.program.products if product != PARTNER_PROGRAM]


def _program(room: Room, cents: dict[tuple[str, str], tuple[int, int]], program: str) -> dict[str, Any]:
    """A program's totals and each product's."""
    own = [sums for (of, _), sums in cents.items() if of == program]
    products = {name: _totals([cents.get((program, name), (0, 0))]) for name in licensed_products(room)}
    return {**_totals(own), **products}


def _totals(sums: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {
        "commission_total": money(sum(all_time for all_time, _ in sums)),
        "commission_last_30_days": money(sum(lately for _, lately in sums)),
    }


async def _discounts(room: Room, partner_id: str) -> dict[str, int]:
    """What the partner saved on each product, in cents."""
    rows = await room.rows("partner_discounts", partner_id=partner_id)
    return {
        row["product"]: int(row["given_cents"])
        + sum(discount_cents(Payment("", "", 0, amount)) for amount in row["paid_without_discount"])
        for row in rows
    }
