"""Solution licenses as their partner sees them: state of the directory, facts, and the client's record put together.

The directory decides what there is, so that what a call changed is seen by the next one; stages, payments and
commission come from the facts and the ledger once they are loaded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from attribution.facts import read_standings
from reports.partner_api.dates import money, timestamp
from reports.periods import ALL_TIME, Period
from reports.room import Room
from tracker import redis_keys
from tracker.errors import NotFound
from tracker.events import ClientNamed, OperatorInvited
from tracker.program import percent_number
from tracker.solutions import PARTNER, SolutionLicense, end_of_cycle, read_solution_license

NO_LICENSE = "There is no such license among yours."
LICENSES_PER_QUERY = 5_000
PARTNERS_DISCOUNT_PERCENT = 20  # R6: what a partner who pays pays less
LATEST_LOAD = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What facts and the ledger say of a license. Times in ms, 0 where nothing happened; money in cents."""

    is_qualified: bool = False
    has_card: bool = False
    is_blocked: bool = False
    expired_ms: int = 0
    first_paid_ms: int = 0
    last_paid_ms: int = 0
    newest_cents: int = 0
    newest_cycle: str = ""
    discount_cents: int = 0
    earned_cents: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A license and all that is known of it at a moment, but its client's record."""

    license: SolutionLicense
    transferred_at: int | None
    facts: Facts
    now_ms: int

    @property
    def payer(self) -> str:
        return self.license.payer_at(self.now_ms, self.transferred_at)

    @property
    def is_managed(self) -> bool:
        """R15: whether the partner sees and manages the subscription."""
        return self.payer == PARTNER

    @property
    def is_paid(self) -> bool:
        return self.facts.first_paid_ms > 0

    @property
    def renewed_ms(self) -> int:
        """When it was handed over, which begins a new trial (R13); 0 where it was not."""
        return (self.transferred_at or 0) if self.license.payment_origin == PARTNER else 0

    @property
    def has_paid(self) -> bool:
        """Whether who pays now has paid."""
        return self.is_paid and self.facts.last_paid_ms >= self.renewed_ms

    @property
    def ended_ms(self) -> int:
        """When it ended; 0 while it goes on. It ends when that is reported, when its subscription closes, or with a
        trial that nobody paid for and that has no subscription; what is paid after that brings it back."""
        subscription = self.license.subscription
        closes_at = subscription.closes_at if subscription else None
        closed = closes_at if closes_at is not None and closes_at <= self.now_ms else 0
        ended = max(self.facts.expired_ms, self.license.ended_at or 0, closed)
        if ended > self.renewed_ms and ended >= self.facts.last_paid_ms:
            return ended
        trial_end = self.license.trial_end(self.transferred_at)
        is_trial = subscription is None and not self.has_paid
        return trial_end if is_trial and trial_end <= self.now_ms else 0

    @property
    def status(self) -> str:
        if self.ended_ms:
            return "expired"
        return "paid" if self.has_paid else "trial"

    @property
    def end_ms(self) -> int:
        """When it ended, or ends as far as is known: when it closes, its billing cycle ends, what was paid last runs
        out, or its trial ends."""
        subscription = self.license.subscription
        if self.ended_ms:
            return self.ended_ms
        if subscription is not None and self.is_managed:
            return subscription.closes_at or subscription.period_end(self.now_ms)
        if self.has_paid:
            return end_of_cycle(self.facts.last_paid_ms, self.billing_cycle)
        return self.license.trial_end(self.transferred_at)

    @property
    def billing_cycle(self) -> str:
        """What the newest payment says, else the subscription; monthly where neither says anything."""
        subscription = self.license.subscription
        return self.facts.newest_cycle or (subscription.billing_cycle if subscription else "monthly")

    @property
    def annual_cents(self) -> int:
        """What it brings in a year: its newest payment, net of what came back of it, in each of its billing cycles."""
        if self.status != "paid":
            return 0
        return self.facts.newest_cents * (1 if self.billing_cycle == "annual" else 12)


async def own_licenses(room: Room, partner_id: str, period: Period = ALL_TIME) -> list[Standing]:
    """A partner's solution licenses that were created in a period, newest first."""
    index = await cast("Awaitable[dict[bytes, bytes]]", room.redis.hgetall(redis_keys.solutions_of(partner_id)))
    created = ((int(moment), license_id.decode()) for license_id, moment in index.items())
    wanted = sorted((one for one in created if period.from_ms <= one[0] < period.to_ms), reverse=True)
    return await standings(room, partner_id, [license_id for _, license_id in wanted])


async def own_license(room: Room, partner_id: str, product: str, license_id: str) -> Standing:
    """A partner's solution license for a product. Raises NotFound for any other."""
    found = await standings(room, partner_id, [license_id])
    if not found or found[0].license.product != product:
        raise NotFound(NO_LICENSE)
    return found[0]


async def standings(room: Room, partner_id: str, license_ids: Sequence[str]) -> list[Standing]:
    """Those of the licenses that are the partner's, in their order."""
    if not license_ids:
        return []
    async with room.redis.pipeline(transaction=True) as pipe:
        for hash_key in (redis_keys.SOLUTION_LICENSES, redis_keys.TRANSFERS):
            pipe.hmget(hash_key, list(license_ids))
        texts, transfers = await pipe.execute()
    licenses = [
        (found, int(transferred) if transferred else None)
        for text, transferred in zip(texts, transfers, strict=True)
        if text is not None and (found := read_solution_license(text.decode())).partner_id == partner_id
    ]
    known = await _facts(room, partner_id, [one.license_id for one, _ in licenses])
    now_ms = room.now_ms()
    return [Standing(one, at, known.get(one.license_id, Facts()), now_ms) for one, at in licenses]


async def _facts(room: Room, partner_id: str, license_ids: Sequence[str]) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    for start in range(0, len(license_ids), LICENSES_PER_QUERY):
        some = list(license_ids[start : start + LICENSES_PER_QUERY])
        rows = await room.rows("solution_facts", partner_id=partner_id, license_ids=some, now_ms=room.now_ms())
        for row in rows:
            license_id = row.pop("license_id")
            found[license_id] = Facts(**{name: type(getattr(Facts(), name))(value) for name, value in row.items()})
    return found


async def clients_of(room: Room, licenses: Iterable[SolutionLicense]) -> dict[str, ClientNamed]:
    """License id → its client's record."""
    blanks = [ClientNamed(license_id=one.license_id, data_center=one.data_center) for one in licenses]
    found = await room.client_records.read(blanks)
    return {one.license_id: one for one in found.values()}


async def commission_percent(room: Room, found: Standing) -> int | float:
    """What the partner earns of a payment that is made now (R6, R10)."""
    if found.is_managed:
        return 0
    partner_id = found.license.partner_id
    known = await room.in_thread(partial(read_standings, room.warehouse, [partner_id], LATEST_LOAD))
    if partner_id not in known:
        return percent_number(room.program.first_tier_percent_hundredths)
    return percent_number(known[partner_id].percent_at(1, found.now_ms, room.program))


def license_document(found: Standing, client: ClientNamed) -> dict[str, Any]:
    """A license as lists of licenses, and the answer to its creation, show it."""
    return {
        "license": found.license.license_id,
        "product": found.license.product,
        "creation_timestamp": timestamp(found.license.created_at),
        "end_timestamp": timestamp(found.end_ms),
        "client_name": client.name,
        "client_email": client.email,
        "cc_added": found.facts.has_card,
        "paid": found.is_paid,
        "payment_origin": found.payer,
        "status": found.status,
    }


def status_document(found: Standing, client: ClientNamed) -> dict[str, Any]:
    """A license as the lists by status show it."""
    return {
        "license_id": found.license.license_id,
        "status": found.status,
        "product": found.license.product,
        "client_name": client.name,
        "client_email": client.email,
        "payment_origin": found.payer,
        "creation_timestamp": timestamp(found.license.created_at),
        "conversion_timestamp": timestamp(found.facts.first_paid_ms),
        "expiration_timestamp": timestamp(found.end_ms),
    }


async def account_document(room: Room, found: Standing) -> dict[str, Any]:
    """What the details and the handover of a license have in common. R15: where the client pays, the partner sees
    neither plan, nor billing cycle, nor seats."""
    client = (await clients_of(room, [found.license]))[found.license.license_id]
    terms = found.license.subscription if found.is_managed else None
    return {
        "license": found.license.license_id,
        "client_name": client.name,
        "client_email": client.email,
        "purchase_order": client.purchase_order,
        "payment_origin": found.payer,
        "creation_timestamp": timestamp(found.license.created_at),
        "end_timestamp": timestamp(found.end_ms),
        "conversations": 0,
        "conversations_last_30_days": 0,
        "cc_added": found.facts.has_card,
        "paid": found.is_paid,
        "seats": terms.seats if terms else 0,
        "plan": terms.plan if terms else "",
        "billing_cycle": terms.billing_cycle if terms else "",
        "total_discount": money(found.facts.discount_cents),
        "discount_percent": discount_percent(room, found),
        "total_commission": money(found.facts.earned_cents),
        "commission_percent": await commission_percent(room, found),
        "data_center": found.license.data_center,
    }


def discount_percent(room: Room, found: Standing) -> int:
    """What is taken off the price: for a partner who pays, or by the license's coupon."""
    if found.is_managed:
        return PARTNERS_DISCOUNT_PERCENT
    coupons = {coupon.id: coupon.discount_percent for coupon in room.program.coupons}
    return coupons.get(found.license.coupon_id or 0, 0)


async def details_document(room: Room, found: Standing) -> Mapping[str, Any]:
    """Everything about a license."""
    return {
        **await account_document(room, found),
        "ql": found.facts.is_qualified,
        "status": found.status,
        "invited_agents": [{"email": email} for email in await operators_of(room, found.license)],
    }


async def operators_of(room: Room, license: SolutionLicense) -> list[str]:
    """The e-mails of a license's operators, in the order in which they were invited."""
    blanks = [
        OperatorInvited(license_id=license.license_id, operator_id=hashed, data_center=license.data_center)
        for hashed, _ in license.operators
    ]
    found = await room.client_records.read(blanks)
    return [found[blank.record].email for blank in blanks]


def transferred_document(account: Mapping[str, Any], found: Standing) -> Mapping[str, Any]:
    """A license after its handover. `account` is its account_document."""
    return {
        **account,
        "recurrent": False,  # the client has no subscription of its own yet
        "expired": found.status == "expired",
        "blocked": found.facts.is_blocked,
    }
