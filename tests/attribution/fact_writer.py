"""Puts facts straight into the warehouse's fact tables, as finished loads, the way the loader leaves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from attribution.staging import Staging
from attribution.warehouse import Warehouse
from tracker.events import (
    Clicked,
    Fact,
    LicenseChanged,
    LicenseTransferred,
    Paid,
    PartnerChanged,
    PartnerJoined,
    Refunded,
    SignedUp,
    SolutionLicenseCreated,
    SubscriptionChanged,
)
from tracker.ids import NIL_UUID

AnyFact = Fact | Clicked

DAY = 86_400_000
START = 1_736_164_800_000
"""2025-01-06 12:00 UTC."""

_TABLES: dict[type, str] = {
    Clicked: "clicks",
    PartnerJoined: "partners",
    SignedUp: "signups",
    SolutionLicenseCreated: "solution_licenses",
    LicenseTransferred: "license_transfers",
    Paid: "payments",
    Refunded: "refunds",
    LicenseChanged: "license_events",
    SubscriptionChanged: "subscription_events",
    PartnerChanged: "partner_events",
}


class FactWriter:
    """Writes loads, numbered from 1."""

    def __init__(self, warehouse: Warehouse, counts_days: bool = True) -> None:
        """`counts_days` is false where the schema is an older one."""
        self.warehouse = warehouse
        self._counts_days = counts_days
        self.load_id = 0

    def load(self, *facts: AnyFact, is_finished: bool = True) -> int:
        """One load with these facts. Returns its number."""
        self.load_id += 1
        by_type: dict[type, list[AnyFact]] = defaultdict(list)
        for fact in facts:
            by_type[type(fact)].append(fact)
        for kind, same in by_type.items():
            self._write(kind, same)
        if self._counts_days:
            Staging(self.warehouse, {}).count_days_again(self.load_id)
        if is_finished:
            self.finish(self.load_id)
        return self.load_id

    def finish(self, load_id: int) -> None:
        columns = ["load_id", "stream", "first_id", "last_id", "is_finished", "stored", "written_at"]
        self.warehouse.insert("loads", columns, [[load_id, "test", "", "", 1, 0, 0]])

    def begin(self, load_id: int) -> None:
        columns = ["load_id", "stream", "first_id", "last_id", "is_finished", "stored", "written_at"]
        self.warehouse.insert("loads", columns, [[load_id, "test", "", "", 0, 0, 0]])

    def _write(self, kind: type, facts: Iterable[AnyFact]) -> None:
        names = [item.name for item in fields(kind)]
        rows = []
        for fact in facts:
            values = {name: getattr(fact, name) for name in names}
            if kind is Clicked and values["visitor_id"] is None:
                values["visitor_id"] = NIL_UUID
            rows.append([*values.values(), self.load_id])
        self.warehouse.insert(_TABLES[kind], [*names, "load_id"], rows)


def at(day: float) -> int:
    """Milliseconds of a day of the story."""
    return START + round(day * DAY)


def uuid_of(number: int) -> str:
    """A canonical UUID; a greater number is a greater text."""
    return f"{number:08x}-0000-4000-8000-{0xFFFFFFFFFFFF - number:012x}"


def joined(
    partner_id: str, day: float = 0, email: str = "", visitor: int | None = None, recruiter: str = ""
) -> PartnerJoined:
    return PartnerJoined(
        partner_id=partner_id,
        joined_at=at(day),
        name=partner_id,
        email="",
        email_hash=email or f"hash of {partner_id}",
        visitor_id=None if visitor is None else uuid_of(visitor),
        recruiter_hint=recruiter,
        digest="",
    )


def clicked(
    number: int, partner_id: str, day: float, visitor: int = 1, verdict: str = "human", product: str = "livechat"
) -> Clicked:
    return Clicked(
        click_id=uuid_of(number),
        clicked_at=at(day),
        visitor_id=uuid_of(visitor),
        partner_id=partner_id,
        product=product,
        campaign="pp_spring",
        verdict=verdict,
    )


def signed_up(license_id: str, day: float, visitor: int | None = 1, hint: str = "", email: str = "client") -> SignedUp:
    return SignedUp(
        license_id=license_id,
        signed_up_at=at(day),
        product="livechat",
        visitor_id=None if visitor is None else uuid_of(visitor),
        partner_hint=hint,
        client_email_hash=email,
        client_email_masked="c…t@e…m",
        data_center="us-south1",
        digest="",
    )


def created(license_id: str, partner_id: str, day: float, origin: str, email: str = "client") -> SolutionLicenseCreated:
    return SolutionLicenseCreated(
        license_id=license_id,
        created_at=at(day),
        product="livechat",
        partner_id=partner_id,
        payment_origin=origin,
        client_email_hash=email,
        client_email_masked="c…t@e…m",
        data_center="us-south1",
        digest="",
    )


def transferred(license_id: str, day: float, event_id: str = "t1") -> LicenseTransferred:
    return LicenseTransferred(event_id=event_id, license_id=license_id, occurred_at=at(day), digest="")


def paid(payment_id: str, license_id: str, cents: int, day: float) -> Paid:
    return Paid(
        payment_id=payment_id,
        license_id=license_id,
        paid_at=at(day),
        amount_cents=cents,
        currency="USD",
        digest="",
    )


def refunded(refund_id: str, payment_id: str, cents: int, day: float, kind: str = "refund") -> Refunded:
    return Refunded(
        refund_id=refund_id,
        payment_id=payment_id,
        refunded_at=at(day),
        amount_cents=cents,
        kind=kind,
        digest="",
    )


def changed(event_id: str, partner_id: str, day: float, kind: str) -> PartnerChanged:
    return PartnerChanged(event_id=event_id, partner_id=partner_id, occurred_at=at(day), kind=kind, digest="")


def rated(
    event_id: str, partner_id: str, day: float, first: int, second: int, until_day: float | None = None
) -> PartnerChanged:
    return PartnerChanged(
        event_id=event_id,
        partner_id=partner_id,
        occurred_at=at(day),
        kind="rate_changed",
        first_tier_percent_hundredths=first,
        second_tier_percent_hundredths=second,
        until=None if until_day is None else at(until_day),
        digest="",
    )


def license_changed(event_id: str, license_id: str, day: float, kind: str) -> LicenseChanged:
    return LicenseChanged(event_id=event_id, license_id=license_id, occurred_at=at(day), kind=kind, digest="")


_STORY_IDS = (
    "partner_id", "license_id", "payment_id", "refund_id", "event_id", "partner_hint", "recruiter_hint",
    "email_hash", "client_email_hash",
)  # fmt: skip


def in_story(number: int, fact: AnyFact) -> AnyFact:
    """The same fact of another story, so that one warehouse can hold many stories side by side."""
    names = {item.name for item in fields(fact)}
    renamed: dict[str, Any] = {
        name: f"{getattr(fact, name)}.{number}" for name in _STORY_IDS if name in names and getattr(fact, name)
    }
    for name in ("visitor_id", "click_id"):
        if name in names and (value := getattr(fact, name)):
            renamed[name] = f"{value[:9]}{number:04x}{value[13:]}"
    return replace(fact, **renamed)


Sums = dict[tuple[str, int, str], int]
"""(money event, tier, partner) → cents; no zeros."""


def ledger_sums(warehouse: Warehouse) -> dict[int, Sums]:
    """Story → what its published ledger says, with the story's number taken off the ids."""
    rows = warehouse.rows(
        "select money_event_id, tier, partner_id, sum(amount_cents) as cents from ledger"
        " where round <= (select max(round) from rounds) group by all having cents != 0"
    )
    sums: dict[int, Sums] = defaultdict(dict)
    for row in rows:
        event, _, story = row["money_event_id"].rpartition(".")
        sums[int(story)][event, row["tier"], row["partner_id"].rpartition(".")[0]] = row["cents"]
    return sums
