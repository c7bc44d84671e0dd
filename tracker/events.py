"""The facts: frozen, typed records in the past tense. Everything else is derived from them.

A fact's field names are the column names of its ClickHouse table; a time is `…_at`, an integer of
milliseconds since 1970 in UTC. Money is integer cents. None means "not given".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, ClassVar


class Verdict(StrEnum):
    """What the request itself says of a click (R1). The partner's part follows from all facts, later."""

    HUMAN = "human"
    BOT = "bot"
    PREFETCH = "prefetch"
    HEAD = "head"
    OPTED_OUT = "opted-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clicked:
    """One follow of an affiliate link. `visitor_id` is None when the visitor opted out."""

    type: ClassVar[str] = "click"
    click_id: str
    clicked_at: int
    visitor_id: str | None
    partner_id: str
    product: str
    campaign: str = ""
    verdict: str = Verdict.HUMAN
    source: str = "redirect"
    """How it reached us: redirect, touch or import."""
    country: str = ""
    device: str = ""
    browser: str = ""
    os: str = ""
    user_agent: str = ""
    referrer: str = ""
    landing_query: str = ""
    ip_prefix: str = ""


CLICK_COLUMNS = tuple(field.name for field in fields(Clicked))

_click_cells = attrgetter(*CLICK_COLUMNS)
_LINE_END = re.compile(r"[\n\r\0]")
_BUT_TABS = re.compile(r"[\\\n\r\0]")
_TO_ESCAPE = re.compile(r"[\\\t\n\r\0]")
_TSV_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": ""})


def tsv_text(text: str) -> str:
    """`text` as a TabSeparated field (https://clickhouse.com/docs/interfaces/formats/TabSeparated)."""
    return text.translate(_TSV_ESCAPES) if _TO_ESCAPE.search(text) else text


def tsv_fields(fields: Sequence[str]) -> str:
    """Fields as TabSeparated, apart by tabs."""
    text = "\t".join(fields)
    # Hardly any has something to escape.
    if text.count("\t") >= len(fields) or _BUT_TABS.search(text):
        return "\t".join([tsv_text(field) for field in fields])
    return text


def click_row(click: Clicked) -> str:
    """A click as one TabSeparated line in the order of CLICK_COLUMNS, with its line feed."""
    cells = ["\\N" if cell is None else str(cell) for cell in _click_cells(click)]
    row = "\t".join(cells)
    # Most rows hold nothing to escape: neither line ends, nor a tab or a backslash more than the row itself needs.
    if _LINE_END.search(row) or (row.count("\t"), row.count("\\")) != (len(cells) - 1, click.visitor_id is None):
        row = "\t".join("\\N" if cell is None else tsv_text(str(cell)) for cell in _click_cells(click))
    return row + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerJoined:
    """A partner became one. `recruiter_hint` is the Partner ID that the site saw itself (R3 for R7)."""

    type: ClassVar[str] = "partner"
    partner_id: str
    joined_at: int
    name: str
    email: str
    email_hash: str
    visitor_id: str | None = None
    recruiter_hint: str = ""
    links: str = "{}"
    """JSON object: product → short code."""
    answered: str = "{}"
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUp:
    """A visitor started a license. `partner_hint` is the Partner ID that the site saw itself (R3)."""

    type: ClassVar[str] = "signup"
    license_id: str
    signed_up_at: int
    product: str
    visitor_id: str | None = None
    partner_hint: str = ""
    client_email_hash: str = ""
    client_email_masked: str = ""
    data_center: str
    plan: str = ""
    seats: int | None = None
    trial_days: int | None = None
    answered: str = "{}"
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionLicenseCreated:
    """A partner created a license for a client (R5). `payment_origin` is `client` or `partner`."""

    type: ClassVar[str] = "solution_license"
    license_id: str
    created_at: int
    product: str
    partner_id: str
    payment_origin: str
    client_email_hash: str = ""
    client_email_masked: str = ""
    data_center: str
    trial_days: int | None = None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseTransferred:
    """A partner-paid license was moved to the client (R13)."""

    type: ClassVar[str] = "license_transfer"
    event_id: str
    license_id: str
    occurred_at: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Money came in on a license. `amount_cents` is what was really paid, after every discount."""

    type: ClassVar[str] = "payment"
    payment_id: str
    license_id: str
    paid_at: int
    amount_cents: int
    currency: str
    discount_cents: int | None = None
    method: str = ""
    billing_cycle: str = ""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """Money went back, or came back after a won dispute. `kind`: refund, chargeback, chargeback_won."""

    type: ClassVar[str] = "refund"
    refund_id: str
    payment_id: str
    refunded_at: int
    amount_cents: int
    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseChanged:
    """A license reached a stage or was held: qualified, card_added, expired, blocked, unblocked."""

    type: ClassVar[str] = "license_event"
    event_id: str
    license_id: str
    occurred_at: int
    kind: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChanged:
    """A partner did something with the subscription of a license they pay for. `kind`: created, changed, closing (at
    the end of its period), closed (at once, and the license with it), transferred (to the client, R13).

    The terms are those that hold from then on; of one that is closed, those that it had. `number` counts the changes
    of a license from 1. No rule of the program asks for it: it is the history, and what the state is rebuilt from.
    """

    type: ClassVar[str] = "subscription_event"
    event_id: str
    license_id: str
    occurred_at: int
    number: int
    kind: str
    plan: str
    billing_cycle: str
    seats: int
    started_at: int
    """When the billing cycle began that runs."""
    closes_at: int | None = None
    """None while it renews by itself."""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerChanged:
    """A partner was suspended, reinstated, or got rates of their own (R10, R11). Percents in hundredths."""

    type: ClassVar[str] = "partner_event"
    event_id: str
    partner_id: str
    occurred_at: int
    kind: str
    first_tier_percent_hundredths: int | None = None
    second_tier_percent_hundredths: int | None = None
    until: int | None = None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientNamed:
    """A client's personal data. It lives only in the store of the license's data center (R20)."""

    type: ClassVar[str] = "client"
    license_id: str
    data_center: str
    email: str = ""
    name: str = ""
    company: str = ""
    purchase_order: str = ""

    @property
    def record(self) -> str:
        """The key of the record; see redis_keys.CLIENT_ENTRIES."""
        return f"{self.type}:{self.license_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationNamed:
    """What is personal of an organization. It lives only in the store of the organization's data center (R20)."""

    type: ClassVar[str] = "organization"
    organization_id: str
    data_center: str
    name: str = ""
    client_name: str = ""
    client_email: str = ""
    identifier: str = ""

    @property
    def record(self) -> str:
        """The key of the record; see redis_keys.CLIENT_ENTRIES."""
        return f"{self.type}:{self.organization_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInvited:
    """Who was invited to work in a license. `operator_id` is the keyed hash of the e-mail (R20)."""

    type: ClassVar[str] = "operator"
    license_id: str
    operator_id: str
    data_center: str
    email: str = ""

    @property
    def record(self) -> str:
        """The key of the record; see redis_keys.CLIENT_ENTRIES."""
        return f"{self.type}:{self.license_id} {self.operator_id}"


ClientRecord = ClientNamed | OrganizationNamed | OperatorInvited
"""What is personal of clients: never a fact of the rules, and never outside the store of its data center."""

Fact = (
    PartnerJoined
    | SignedUp
    | SolutionLicenseCreated
    | LicenseTransferred
    | Paid
    | Refunded
    | LicenseChanged
    | SubscriptionChanged
    | PartnerChanged
)


_TIMES = {
    "joined_at", "signed_up_at", "created_at", "occurred_at", "paid_at", "refunded_at", "started_at", "closes_at",
    "until",
}  # fmt: skip


def timestamp(moment: int) -> str:
    """Milliseconds since 1970 as ClickHouse reads a DateTime64(3) in UTC: `2026-02-11 13:18:53.250`."""
    at = datetime.fromtimestamp(moment // 1000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{moment % 1000:03d}"


def fact_row(fact: Fact | ClientRecord) -> str:
    """A fact as one JSON object on one line: `type`, then its fields. None fields are left out."""
    row: dict[str, Any] = {"type": fact.type}
    for item in fields(fact):
        value = getattr(fact, item.name)
        if value is not None:
            row[item.name] = timestamp(value) if item.name in _TIMES else value
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
