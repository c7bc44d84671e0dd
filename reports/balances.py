"""A partner's balance (R18): commission − blocked − pending − withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.room import Room
from reports.withdrawal_records import PAID, PENDING, Withdrawal, withdrawals_of

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
    return balance_of(await _commission(room, [partner_id]), withdrawals)


async def read_balances(room: Room, partner_ids: Iterable[str]) -> dict[str, Balance]:
    """The balances of several partners now."""
    wanted = sorted(set(partner_ids))
    rows = await _commission(room, wanted) if wanted else []
    return {
        name: balance_of([row for row in rows if row["partner_id"] == name], await withdrawals_of(room, name))
        for name in wanted
    }


async def commission_by_day(room: Room, partner_id: str) -> list[dict[str, Any]]:
    """A partner's commission by tier and day, over all time: rows of partner_balance.sql."""
    return await room.rows("partner_balance", partner_ids=[partner_id], by_day=1, now_ms=room.now_ms())


def balance_of(commission: Iterable[Mapping[str, Any]], withdrawals: Iterable[Withdrawal]) -> Balance:
    """The balance of a partner with this commission, rows of partner_balance.sql, and all these withdrawals."""
    by_tier: Counter[int] = Counter()
    blocked_cents = 0
    for row in commission:
        by_tier[row["tier"]] += row["commission_cents"]
        blocked_cents += row["blocked_cents"]
    by_status: Counter[str] = Counter()
    for one in withdrawals:
        by_status[one.status] += one.amount_cents
    return Balance(
        first_tier_cents=by_tier[FIRST_TIER],
        second_tier_cents=by_tier[SECOND_TIER],
        blocked_cents=blocked_cents,
        pending_cents=by_status[PENDING],
        withdrawn_cents=by_status[PAID],
    )


async def _commission(room: Room, partner_ids: Sequence[str]) -> list[dict[str, Any]]:
    return await room.rows("partner_balance", partner_ids=partner_ids, by_day=0, now_ms=room.now_ms())
