"""A partner's balance (R18): commission − blocked − pending − withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.room import Room
from reports.withdrawal_records import Withdrawal, withdrawals_of

FIRST_TIER, SECOND_TIER = 1, 2


@dataclass(frozen=True, slots=True)
class Balance:
    """Commission by tier, what of it is blocked (R12), and what was asked for or paid out; in cents, over all time."""

    first_tier_cents: int
    second_tier_cents: int
    blocked_cents: int
    pending_cents: int
    withdrawn_cents: int

    @property
    def commission_cents(self) -> int:
        return self.first_tier_cents + self.second_tier_cents

    @property
    def balance_cents(self) -> int:
        """What is available; below zero after refunds of what was withdrawn, and then it recovers first."""
        return self.commission_cents - self.blocked_cents - self.pending_cents - self.withdrawn_cents


async def read_balance(room: Room, partner_id: str) -> Balance:
    """A partner's balance now."""
    return await balance_with(room, partner_id, await withdrawals_of(room, partner_id))


async def balance_with(room: Room, partner_id: str, withdrawals: Iterable[Withdrawal]) -> Balance:
    """A partner's balance now, where all their withdrawals are `withdrawals`."""
    return _balance(await _lines(room, [partner_id]), withdrawals)


async def read_balances(room: Room, partner_ids: Iterable[str]) -> dict[str, Balance]:
    """The balances of several partners now."""
    wanted = sorted(set(partner_ids))
    rows = await _lines(room, wanted) if wanted else []
    return {
        name: _balance([row for row in rows if row["partner_id"] == name], await withdrawals_of(room, name))
        for name in wanted
    }


async def _lines(room: Room, partner_ids: Sequence[str]) -> list[dict[str, Any]]:
    return await room.rows("partner_balance", partner_ids=partner_ids, now_ms=room.now_ms())


def _balance(rows: Sequence[Mapping[str, Any]], withdrawals: Iterable[Withdrawal]) -> Balance:
    by_tier = {row["tier"]: row["commission_cents"] for row in rows}
    sums = {"pending": 0, "paid": 0, "rejected": 0}
    for one in withdrawals:
        sums[one.status] += one.amount_cents
    return Balance(
        first_tier_cents=by_tier.get(FIRST_TIER, 0),
        second_tier_cents=by_tier.get(SECOND_TIER, 0),
        blocked_cents=sum(row["blocked_cents"] for row in rows),
        pending_cents=sums["pending"],
        withdrawn_cents=sums["paid"],
    )
