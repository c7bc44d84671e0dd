"""Withdrawals as they are kept: one document each, a list per partner, and which of them wait for finance."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from reports.room import Room
from tracker import redis_keys
from tracker.directory import Key, Known

PENDING, PAID, REJECTED = "pending", "paid", "rejected"
STATUSES = (PENDING, PAID, REJECTED)
READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A partner's request to be paid. Times are in ms; `settled_at` is 0 while it waits for finance.

    `paypal` is the address that the partner's billing details had when they asked.
    """

    number: int
    partner_id: str
    requested_at: int
    status: str
    amount_cents: int
    invoice_id: str
    paypal: str
    settled_at: int = 0

    def entry(self) -> tuple[Key, str]:
        """Where and how it is kept."""
        document = {name: value for name, value in asdict(self).items() if name != "number"}
        return (redis_keys.WITHDRAWALS, str(self.number)), json.dumps(document, ensure_ascii=False)


def list_key(partner_id: str) -> Key:
    return redis_keys.WITHDRAWAL_LISTS, partner_id


def record_key(number: int) -> Key:
    return redis_keys.WITHDRAWALS, str(number)


def numbers_in(known: Known, partner_id: str) -> list[int]:
    """The numbers of a partner's withdrawals, oldest first; their list was read."""
    return [int(number) for number in json.loads(known.get(*list_key(partner_id)) or "[]")]


def records_in(known: Known, numbers: Sequence[int]) -> list[Withdrawal]:
    """Those of `numbers` that are there; they were read."""
    found = ((number, known.get(*record_key(number))) for number in numbers)
    return [Withdrawal(number=number, **json.loads(value)) for number, value in found if value]


async def withdrawals_of(room: Room, partner_id: str) -> list[Withdrawal]:
    """A partner's withdrawals, latest first. Raises Unavailable where Redis has lost them for the moment."""
    known = Known()
    await room.directory.require()
    await room.directory.read(known, [list_key(partner_id)])
    numbers = numbers_in(known, partner_id)
    await room.directory.read(known, [record_key(number) for number in numbers])
    return records_in(known, numbers[::-1])


async def find_withdrawal(room: Room, number: int) -> Withdrawal | None:
    """A withdrawal by its number."""
    known = Known()
    await room.directory.require()
    await room.directory.read(known, [record_key(number)])
    return next(iter(records_in(known, [number])), None)


async def every_withdrawal(room: Room, before: int, status: str, partner_id: str) -> AsyncIterator[Withdrawal]:
    """Withdrawals with numbers below `before`, latest first; of one status and partner where these are not empty."""
    await room.directory.require()
    numbers = [number for number in await _candidates(room, status, partner_id) if number < before]
    for at in range(0, len(numbers), READ_AT_ONCE):
        some = numbers[at : at + READ_AT_ONCE]
        known = Known()
        await room.directory.read(known, [record_key(number) for number in some])
        for one in records_in(known, some):
            if status in ("", one.status) and partner_id in ("", one.partner_id):
                yield one


async def _candidates(room: Room, status: str, partner_id: str) -> Sequence[int]:
    """Numbers that may be asked for, latest first: of a partner, of those that wait, or all that were given."""
    if partner_id:
        known = Known()
        await room.directory.read(known, [list_key(partner_id)])
        return numbers_in(known, partner_id)[::-1]
    redis: Any = room.redis
    if status == PENDING:
        waiting = cast("list[bytes]", await redis.hkeys(redis_keys.WITHDRAWALS_WAITING))
        return sorted((int(number) for number in waiting), reverse=True)
    newest = int(await redis.hget(redis_keys.COUNTERS, "withdrawal") or 0)
    return range(newest, 0, -1)
