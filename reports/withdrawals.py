"""Withdrawals (R18): a partner asks for their whole balance, and finance pays it or refuses.

A request is decided on the ledger as it stands once it has every fact that was accepted before, and taken only if none
of the partner's withdrawals has changed meanwhile: two at once never withdraw the same money. Lines that are posted
after the ledger was read are no part of it. If they are refunds, the balance goes below zero and recovers first; the
request stands, and finance sees the balance beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio

from reports.balances import balance_with
from reports.room import Room
from reports.withdrawal_records import (
    PENDING,
    Withdrawal,
    list_key,
    numbers_in,
    record_key,
    records_in,
)
from tracker import redis_keys
from tracker.directory import Key, Known, Step
from tracker.errors import Conflict, Forbidden, NotFound, Unavailable
from tracker.state import change, new_number, state_step

LEDGER_SECONDS = 4.0  # how long a request waits for the ledger to have what was accepted before
LEDGER_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person was shown and agreed to: how much, and the PayPal address that it goes to."""

    amount_cents: int
    paypal: str


async def request_withdrawal(room: Room, partner_id: str, seen: Seen | None = None) -> Withdrawal:
    """Ask for all that is available. Raises Forbidden below the program's minimum, Conflict without billing details,
    and Unavailable while the ledger lacks facts that were accepted.

    Where `seen` says another amount or address than there is by now, that is a Conflict.
    """
    await ledger_is_current(room)
    billing = (redis_keys.BILLING, partner_id)

    async def decide(known: Known) -> tuple[Withdrawal, Step]:
        numbers = numbers_in(known, partner_id)
        await room.directory.read(known, [record_key(number) for number in numbers])
        balance = await balance_with(room, partner_id, records_in(known, numbers))
        if seen is not None and seen.amount_cents != balance.balance_cents:
            now_there = dollars(balance.balance_cents)
            raise Conflict(f"{now_there} is available by now, not {dollars(seen.amount_cents)}. Nothing was asked for.")
        _require_minimum(room, balance.balance_cents)
        details = known.get(*billing)
        if details is None:
            raise Conflict("Save billing details first, so that finance knows where the money goes.")
        paypal = paypal_of(details)
        if seen is not None and seen.paypal != paypal:
            raise Conflict(f"Your billing details have changed: the money goes to {paypal} now. Nothing was asked for.")
        asked = Withdrawal(
            number=await new_number(room.redis, known, "withdrawal"),
            partner_id=partner_id,
            requested_at=room.now_ms(),
            status=PENDING,
            amount_cents=balance.balance_cents,
            invoice_id=invoice_id(partner_id, room.now_ms()),
            paypal=paypal,
        )
        key, document = asked.entry()
        write: dict[Key, str | None] = {
            key: document,
            list_key(partner_id): str([*numbers, asked.number]),
            (redis_keys.WITHDRAWALS_WAITING, str(asked.number)): partner_id,
        }
        return asked, state_step(known, write)

    return await change(room.directory, [list_key(partner_id), billing], decide)


async def settle_withdrawal(room: Room, number: int, status: str) -> Withdrawal:
    """Say that a withdrawal was paid, or rejected, which gives its amount back to the balance.

    The same again changes nothing. Raises NotFound, and Conflict where it was settled the other way.
    """

    async def decide(known: Known) -> tuple[Withdrawal, Step | None]:
        found = records_in(known, [number])
        if not found:
            raise NotFound(f"There is no withdrawal {number}.")
        asked = found[0]
        if asked.status == status:
            return asked, None
        if asked.status != PENDING:
            raise Conflict(f"Withdrawal {number} is {asked.status} already; that cannot be taken back.")
        settled = replace(asked, status=status, settled_at=room.now_ms())
        key, document = settled.entry()
        return settled, state_step(known, {key: document, (redis_keys.WITHDRAWALS_WAITING, str(number)): None})

    return await change(room.directory, [record_key(number)], decide)


async def ledger_is_current(room: Room) -> None:
    """Wait until the ledger has every fact that is accepted by now. Raises Unavailable after LEDGER_SECONDS."""
    accepted = await _accepted(room)
    with anyio.move_on_after(LEDGER_SECONDS):
        while True:
            if int(await room.redis.hget(redis_keys.PROGRESS, "attributed") or 0) >= accepted:
                return
            await anyio.sleep(LEDGER_POLL_SECONDS)
    raise Unavailable("The ledger does not have everything yet that was accepted; try again in a moment.", 5)


def invoice_id(partner_id: str, now_ms: int) -> str:
    """Year, month and partner: `2026/2/xyz`. Requests of one month share an invoice."""
    today = datetime.fromtimestamp(now_ms // 1000, UTC)
    return f"{today.year}/{today.month}/{partner_id}"


def paypal_of(billing: str) -> str:
    """The address that billing details say payouts go to."""
    return str(json.loads(billing)["paypal"])


def _require_minimum(room: Room, available_cents: int) -> None:
    least = room.program.minimum_withdrawal_cents
    if available_cents < least:
        raise Forbidden(f"{dollars(available_cents)} is available; a withdrawal is {dollars(least)} or more.")


def dollars(cents: int) -> str:
    """An amount as answers say it."""
    return f"{cents / 100:.2f} USD"  # the contract's money is US dollars


async def _accepted(room: Room) -> int:
    """How many facts the journals have taken."""
    async with room.redis.pipeline(transaction=False) as pipe:
        for shard in range(redis_keys.SHARDS):
            pipe.hget(redis_keys.click_counts(shard), "accepted")
        pipe.hget(redis_keys.FACT_COUNTS, "accepted")
        return sum(int(count or 0) for count in await pipe.execute())
