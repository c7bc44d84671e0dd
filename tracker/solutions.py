"""Solution licenses and their organizations as the directory has them (R5, R13–R15): state without anything personal.

Clients' names and e-mails are in their data center's store (R20); here is the keyed hash of the e-mail.
"""

from __future__ import annotations

import calendar
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from tracker import redis_keys
from tracker.directory import Key
from tracker.events import SubscriptionChanged
from tracker.program import DAY_MS

TRIAL_DAYS = 14  # of a license for which nothing else was asked, and of a new trial after a transfer (R13)
CLIENT, PARTNER = "client", "partner"
KNOWN = "1"
"""What CLIENT_LICENSES says of an e-mail that has a license for a product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A paid plan that the partner manages. Times are in ms; `closes_at` is None while it renews by itself."""

    plan: str
    billing_cycle: str
    seats: int
    started_at: int
    closes_at: int | None = None

    def period_end(self, now_ms: int) -> int:
        """When the billing cycle ends that `now_ms` lies in: whole months after the start, on its day of the month."""
        months = 12 if self.billing_cycle == "annual" else 1
        start = datetime.fromtimestamp(self.started_at // 1000, UTC)
        now = datetime.fromtimestamp(max(now_ms, self.started_at) // 1000, UTC)
        passed = (now.year - start.year) * 12 + now.month - start.month
        cycles = max(1, passed // months)
        while (end := _months_after(start, cycles * months)) <= now:
            cycles += 1
        return int(end.timestamp()) * 1000


def end_of_cycle(paid_at: int, billing_cycle: str) -> int:
    """When what was paid runs out, in ms: a month or a year later."""
    start = datetime.fromtimestamp(paid_at // 1000, UTC)
    return int(_months_after(start, 12 if billing_cycle == "annual" else 1).timestamp()) * 1000


def _months_after(start: datetime, months: int) -> datetime:
    """The same day of a later month; its last day where it is shorter."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionLicense:
    """What is known of a solution license besides the facts. Imported ones have no organization."""

    license_id: str
    partner_id: str
    product: str
    data_center: str
    payment_origin: str
    created_at: int
    email_hash: str
    organization_id: str = ""
    trial_days: int = TRIAL_DAYS
    coupon_id: int | None = None
    operators: tuple[tuple[str, str], ...] = ()
    """Keyed hash of the e-mail, and role, of everyone who was invited."""
    subscription: Subscription | None = None
    subscription_changes: int = 0
    """How many facts (SubscriptionChanged) tell what was done with it."""
    ended_at: int | None = None
    """When the partner ended it at once."""

    def text(self) -> str:
        """The license as the directory has it: fields that say something."""
        defaults = {item.name: item.default for item in fields(self)}
        document = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        return json.dumps(document, separators=(",", ":"))

    def payer_at(self, moment: int, transferred_at: int | None) -> str:
        """Who pays and manages it: `client` or `partner` (R13)."""
        is_transferred = transferred_at is not None and transferred_at <= moment
        return CLIENT if is_transferred else self.payment_origin

    def trial_end(self, transferred_at: int | None) -> int:
        """When its trial ends, or ended: a transfer begins a new one (R13)."""
        if transferred_at is not None and self.payment_origin == PARTNER:
            return transferred_at + TRIAL_DAYS * DAY_MS
        return self.created_at + self.trial_days * DAY_MS

    def subscription_changed(
        self, kind: str, terms: Subscription, now_ms: int, event_id: str, digest: str
    ) -> SubscriptionChanged:
        """The fact that something is done with its subscription now. `terms` are those that hold from now on."""
        return SubscriptionChanged(
            event_id=event_id,
            license_id=self.license_id,
            occurred_at=now_ms,
            number=self.subscription_changes + 1,
            kind=kind,
            digest=digest,
            **asdict(terms),
        )

    def after(self, change: SubscriptionChanged) -> SolutionLicense:
        """The license after something was done with its subscription."""
        terms = Subscription(**{item.name: getattr(change, item.name) for item in fields(Subscription)})
        return replace(
            self,
            subscription=None if change.kind == "transferred" else terms,
            subscription_changes=change.number,
            ended_at=change.occurred_at if change.kind == "closed" else self.ended_at,
        )


def read_solution_license(text: str) -> SolutionLicense:
    """The license that the directory has."""
    document = json.loads(text)
    if subscription := document.get("subscription"):
        document["subscription"] = Subscription(**subscription)
    document["operators"] = tuple((hashed, role) for hashed, role in document.get("operators", ()))
    # Until schema 010 the newest events were part of the state.
    if events := document.pop("subscription_events", ()):
        document["subscription_changes"] = len(events)
    return SolutionLicense(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization of a client. `licenses`: license id and product of each, oldest first."""

    organization_id: str
    partner_id: str
    data_center: str
    email_hash: str
    created_at: int
    licenses: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """The organization as the directory has it."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read_organization(text: str) -> Organization:
    """The organization that the directory has."""
    document = json.loads(text)
    document["licenses"] = tuple((license_id, product) for license_id, product in document["licenses"])
    return Organization(**document)


def client_license(product: str, email_hash: str) -> Key:
    """Where it is kept that an e-mail has a license for a product."""
    return redis_keys.CLIENT_LICENSES, f"{product} {email_hash}"


def license_writes(license: SolutionLicense) -> dict[Key, str]:
    """What the directory has of a new solution license."""
    entry = json.dumps({"partner_id": license.partner_id, "data_center": license.data_center})
    return {
        (redis_keys.LICENSES, license.license_id): entry,
        (redis_keys.SOLUTION_LICENSES, license.license_id): license.text(),
        (redis_keys.solutions_of(license.partner_id), license.license_id): str(license.created_at),
        client_license(license.product, license.email_hash): KNOWN,
    }


def visibility(license_id: str, license_text: str | None, transferred_at: int | None, now_ms: int) -> Mapping[str, Any]:
    """Who sees what of a license (R15). `license_text` is its state where it is a solution license."""
    found = read_solution_license(license_text) if license_text else None
    payer = found.payer_at(now_ms, transferred_at) if found else CLIENT
    client_pays = payer == CLIENT
    return {
        "license_id": license_id,
        "payment_origin": payer,
        "client_sees": {
            "plan_price": client_pays,
            "billing": client_pays,
            "trial": client_pays,
            "features": True,
            "seats": True,
        },
        "partner_sees": {"billing": not client_pays},
    }
