"""Subscriptions of licenses that a partner pays for (R15), and the handover of a license to its client (R13)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reports.partner_api.asked import Asked, bad_field
from reports.partner_api.provisioning_orders import license_transferred, subscription_changed
from reports.partner_api.solution_licenses import (
    NO_LICENSE,
    account_document,
    clients_of,
    own_license,
    transferred_document,
)
from reports.room import Room
from tracker import redis_keys
from tracker.directory import Key, Known, Step
from tracker.errors import Conflict, Forbidden, NotFound
from tracker.events import LicenseChanged, LicenseTransferred, OperatorInvited, SubscriptionChanged, fact_row
from tracker.secret import email_hash
from tracker.solutions import KNOWN, PARTNER, SolutionLicense, Subscription, client_license, read_solution_license
from tracker.state import change, state_step

NOT_MANAGED = "The client manages and pays for this license."


@dataclass(frozen=True, slots=True)
class LicenseKeys:
    """Where the directory has the license that is asked for."""

    asked: Asked

    @property
    def license(self) -> Key:
        return redis_keys.SOLUTION_LICENSES, self.asked.path["license_id"]

    @property
    def transfer(self) -> Key:
        return redis_keys.TRANSFERS, self.asked.path["license_id"]

    @property
    def renames(self) -> Key:
        return redis_keys.CLIENT_RENAMES, self.asked.path["license_id"]

    @property
    def all(self) -> list[Key]:
        return [self.license, self.transfer, self.renames]

    def own(self, known: Known) -> tuple[SolutionLicense, int | None]:
        """The license, where it is the partner's and for the product asked for, and when it was handed over.
        Raises NotFound for any other."""
        text, transferred = known.get(*self.license), known.get(*self.transfer)
        license = read_solution_license(text) if text else None
        if license is None or (license.partner_id, license.product) != (
            self.asked.partner_id,
            self.asked.path["product"],
        ):
            raise NotFound(NO_LICENSE)
        return license, int(transferred) if transferred else None

    def managed(self, known: Known, now_ms: int) -> SolutionLicense:
        """The license, where its partner manages the subscription (R15). Raises NotFound, and Forbidden where the
        client does."""
        license, transferred_at = self.own(known)
        if license.payer_at(now_ms, transferred_at) != PARTNER:
            raise Forbidden(NOT_MANAGED)
        return license

    def require_not_handed_over(self, license: SolutionLicense, transferred_at: int | None, now_ms: int) -> None:
        """Raises Forbidden once the license was moved to its client."""
        if license.payment_origin == PARTNER and license.payer_at(now_ms, transferred_at) != PARTNER:
            raise Forbidden(NOT_MANAGED)


def _renewing(license: SolutionLicense, now_ms: int) -> Subscription | None:
    """The subscription that renews by itself; one that closes, or has, is none to change or to close."""
    subscription = license.subscription
    return subscription if subscription is not None and subscription.closes_at is None else None


def _has_ended(license: SolutionLicense, now_ms: int) -> bool:
    closes_at = license.subscription.closes_at if license.subscription else None
    return license.ended_at is not None or (closes_at is not None and closes_at <= now_ms)


Decide = Callable[[SolutionLicense], tuple[str, Subscription]]
"""Of a license: what is done with its subscription (the kinds of SubscriptionChanged), and the terms from then on."""


def _changed(license: SolutionLicense, kind: str, terms: Subscription, now_ms: int) -> SubscriptionChanged:
    """The fact of it."""
    return license.subscription_changed(kind, terms, now_ms, f"subscription-{uuid.uuid4()}", secrets.token_hex(8))


async def _change_subscription(room: Room, asked: Asked, now_ms: int, decide: Decide) -> None:
    """Change a managed license and tell LiveChat's own system."""
    keys = LicenseKeys(asked)

    async def decided(known: Known) -> tuple[None, Step]:
        license = keys.managed(known, now_ms)
        fact = _changed(license, *decide(license), now_ms)
        after = license.after(fact)
        rows = [fact_row(fact)]
        if fact.kind == "closed":
            rows.append(fact_row(_expired(after, now_ms)))
        told = (subscription_changed(fact, after, now_ms),)
        return None, state_step(known, {keys.license: after.text()}, rows=tuple(rows), deliveries=told)

    await change(room.directory, keys.all, decided)


async def create_subscription(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    now_ms = room.now_ms()

    def decide(license: SolutionLicense) -> tuple[str, Subscription]:
        if _renewing(license, now_ms):
            raise Conflict("The license has a subscription already.")
        if _has_ended(license, now_ms):
            raise Conflict("The license has ended.")
        return "created", _terms(asked, now_ms)

    await _change_subscription(room, asked, now_ms, decide)
    return None


async def update_subscription(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    now_ms = room.now_ms()

    def decide(license: SolutionLicense) -> tuple[str, Subscription]:
        before = _renewing(license, now_ms)
        if before is None:
            raise Conflict("The license has no subscription to change.")
        # Another billing cycle begins now; another plan or number of seats goes on in the one that runs.
        begins_anew = before.billing_cycle != asked.body["billing_cycle"]
        return "changed", _terms(asked, now_ms if begins_anew else before.started_at)

    await _change_subscription(room, asked, now_ms, decide)
    return None


async def close_subscription(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    now_ms = room.now_ms()
    at_once: bool = asked.body.get("expire", False)

    def decide(license: SolutionLicense) -> tuple[str, Subscription]:
        subscription = license.subscription if at_once and not _has_ended(license, now_ms) else None
        subscription = subscription or _renewing(license, now_ms)
        if subscription is None:
            raise Conflict("The license has no subscription to close.")
        if at_once:
            return "closed", replace(subscription, closes_at=now_ms)
        return "closing", replace(subscription, closes_at=subscription.period_end(now_ms))

    await _change_subscription(room, asked, now_ms, decide)
    return None


def _expired(license: SolutionLicense, now_ms: int) -> LicenseChanged:
    """The fact that a license has ended, because its partner ended it."""
    return LicenseChanged(
        event_id=f"closed-{uuid.uuid4()}",
        license_id=license.license_id,
        occurred_at=now_ms,
        kind="expired",
        digest=secrets.token_hex(8),
    )


def _terms(asked: Asked, started_at: int) -> Subscription:
    body = asked.body
    return Subscription(
        plan=body["plan"], billing_cycle=body["billing_cycle"], seats=body["seats"], started_at=started_at
    )


async def transfer_license(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    """The client pays and manages from now on; a new trial begins, and the partner's subscription ends (R13)."""
    keys = LicenseKeys(asked)
    now_ms = room.now_ms()
    owner = email_hash(room.secret, asked.body["new_owner"])
    taken = client_license(asked.path["product"], owner)

    async def decide(known: Known) -> tuple[None, Step]:
        license = keys.managed(known, now_ms)
        if owner not in dict(license.operators):
            raise bad_field("new_owner", "must be the e-mail of one of the license's operators")
        if owner != license.email_hash and known.get(*taken):
            raise bad_field("new_owner", f"has a license for {license.product} already")
        operator = OperatorInvited(license_id=license.license_id, operator_id=owner, data_center=license.data_center)
        client = (await clients_of(room, [license]))[license.license_id]
        named = replace(client, email=(await room.client_records.one(operator)).email)
        fact = LicenseTransferred(
            event_id=f"transfer-{uuid.uuid4()}",
            license_id=license.license_id,
            occurred_at=now_ms,
            digest=secrets.token_hex(8),
        )
        after = replace(license, email_hash=owner)
        rows = [fact_row(fact)]
        if license.subscription is not None:
            closes_at = min(now_ms, license.subscription.closes_at or now_ms)
            ended = _changed(license, "transferred", replace(license.subscription, closes_at=closes_at), now_ms)
            after = after.after(ended)
            rows.append(fact_row(ended))
        write: dict[Key, str | None] = {
            keys.license: after.text(),
            keys.transfer: str(now_ms),
            keys.renames: secrets.token_hex(8),
            taken: KNOWN,
            (redis_keys.seen("license_transfer"), fact.event_id): f'{fact.digest} {{"event_id":"{fact.event_id}"}}',
        }
        step = state_step(
            known,
            write,
            rows=tuple(rows),
            client=(redis_keys.client_journal(license.data_center), fact_row(named)),
            records=(named.record,),
            deliveries=(license_transferred(license, now_ms, owner, now_ms),),
        )
        return None, step

    await change(room.directory, [*keys.all, taken], decide)
    found = await own_license(room, asked.partner_id, asked.path["product"], asked.path["license_id"])
    return transferred_document(await account_document(room, found), found)
