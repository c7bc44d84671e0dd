"""The operations tagged Status and Account: a partner's profile, money and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.balances import read_balance
from reports.partner_api.asked import ALL, Asked, Handler, equals_filters
from reports.partner_api.commission import (
    PARTNER_PROGRAM,
    PROGRAMS,
    commission_days,
    earnings_document,
    licensed_products,
    metric,
)
from reports.partner_api.dates import money, money_report, timestamp
from reports.partner_api.profile import get_billing, get_profile, update_billing, update_profile
from reports.room import Room
from reports.withdrawal_records import Withdrawal, withdrawals_of
from reports.withdrawals import request_withdrawal
from tracker.errors import NotFound
from tracker.program import DAY_MS
from tracker.tokens import Token

Document = Mapping[str, Any]


async def get_status(room: Room, asked: Asked) -> Document | None:
    """Nothing to say but that the API is up."""
    return None


async def get_stats(room: Room, asked: Asked) -> Document | None:
    trial_days = room.program.trial_days_default
    rows = await room.rows(
        "partner_license_counts", partner_id=asked.partner_id, now_ms=room.now_ms(), trial_days=trial_days
    )
    counts = {(row["program"], row["product"]): row for row in rows}
    names = ("trials", "trials_cc", "paid")
    documents = {
        program: {
            product: {name: int(counts.get((program, product), {}).get(name, 0)) for name in names}
            for product in licensed_products(room)
        }
        for program in PROGRAMS
    }
    referred = await room.row("referred_partners_count", partner_id=asked.partner_id)
    brought = {name: sum(int(row[name]) for row in rows if row["program"] == "referred") for name in names}
    partners = {"partners_referred": int(referred["partners"]) if referred else 0}
    return documents | {"affiliate": {**documents["affiliate"], PARTNER_PROGRAM: brought | partners}}


async def get_coupons(room: Room, asked: Asked) -> Document | None:
    usable = [coupon for coupon in room.program.coupons if coupon.usable_by(asked.partner_id)]
    return {"result": [{"id": coupon.id, "label": coupon.label} for coupon in usable]}


async def get_earnings(room: Room, asked: Asked) -> Document | None:
    return await earnings_document(room, asked.partner_id)


async def get_commission_report(room: Room, asked: Asked) -> Document | None:
    wanted = equals_filters(asked, {"product": list(room.program.products), "program": PROGRAMS})
    days = await commission_days(
        room, asked.partner_id, asked.period, wanted.get("product", ALL), wanted.get("program", ALL)
    )
    return money_report(asked.period, asked.query["aggregation"], [] if "" in wanted.values() else days)


async def get_commission_metric(room: Room, asked: Asked) -> Document | None:
    query = asked.query
    return metric(await commission_days(room, asked.partner_id, asked.period, query["product"], query["program"]))


async def get_partners_referred_earnings_report(room: Room, asked: Asked) -> Document | None:
    query = asked.query
    days = await commission_days(
        room, asked.partner_id, asked.period, query["product"], query["program"], referred=True
    )
    return money_report(asked.period, query["aggregation"], days)


async def get_balance(room: Room, asked: Asked) -> Document | None:
    balance = await read_balance(room, asked.partner_id)
    total = balance.pending_cents + balance.withdrawn_cents + balance.balance_cents
    return {
        "pending": money(balance.pending_cents),
        "withdrawn": money(balance.withdrawn_cents),
        "available": money(balance.balance_cents),
        "total": f"{'-' if total < 0 else ''}{abs(total) // 100}.{abs(total) % 100:02d}",
    }


async def get_withdrawals(room: Room, asked: Asked) -> Document | None:
    period = asked.period
    found = await withdrawals_of(room, asked.partner_id)
    return {"result": [_withdrawal(one) for one in found if period.from_ms <= one.requested_at < period.to_ms]}


async def post_withdrawal(room: Room, asked: Asked) -> Document | None:
    return _withdrawal(await request_withdrawal(room, asked.partner_id))


async def get_api_tokens(room: Room, asked: Asked) -> Document | None:
    tokens = await room.tokens.list("partner", room.now_ms(), asked.partner_id)
    return {"result": [_token(one, one.masked) for one in tokens]}


async def create_api_token(room: Room, asked: Asked) -> Document | None:
    now_ms, days = room.now_ms(), asked.body.get("expires_in_days", 0)
    expires_at = now_ms + days * DAY_MS if days else 0
    token, secret = await room.tokens.issue("partner", asked.body["label"], now_ms, asked.partner_id, expires_at)
    return _token(token, secret)


async def revoke_api_token(room: Room, asked: Asked) -> Document | None:
    number = asked.path["id"]
    is_number = number.isascii() and number.isdigit() and len(number) < 16
    if not is_number or not await room.tokens.revoke("partner", int(number), room.now_ms(), asked.partner_id):
        raise NotFound("You have no active token with this id.")
    return None


def _withdrawal(one: Withdrawal) -> Document:
    return {
        "withdrawal_id": one.number,
        "request_timestamp": timestamp(one.requested_at),
        "action_timestamp": timestamp(one.settled_at),
        "status": one.status,
        "amount": money(one.amount_cents),
        "invoice_id": one.invoice_id,
        "paypal": one.paypal,
    }


def _token(token: Token, secret: str) -> Document:
    return {
        "id": token.id,
        "token": secret,
        "creation_timestamp": timestamp(token.created_at),
        "label": token.label,
        "expiration_timestamp": timestamp(token.expires_at),
        "last_used_timestamp": timestamp(token.last_used_at),
    }


OPERATIONS: Mapping[str, Handler] = {
    "get_status": get_status,
    "get_profile": get_profile,
    "get_profile_alias": get_profile,
    "update_profile": update_profile,
    "get_stats": get_stats,
    "get_coupons": get_coupons,
    "get_earnings": get_earnings,
    "get_commission_report": get_commission_report,
    "get_partners_referred_earnings_report": get_partners_referred_earnings_report,
    "get_billing": get_billing,
    "update_billing": update_billing,
    "get_balance": get_balance,
    "get_commission_metric": get_commission_metric,
    "get_withdrawals": get_withdrawals,
    "request_withdrawal": post_withdrawal,
    "get_api_tokens": get_api_tokens,
    "create_api_token": create_api_token,
    "revoke_api_token": revoke_api_token,
}
"""Operation id → handler."""
