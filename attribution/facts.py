"""Reads facts of some licenses and partners into the typed records that the rules work on.

Every reader but that of holds, which no round decides by, sees the facts of loads up to `through_load` only, so that a
round's results never depend on what a load under way has already written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribution.binding import Joined, License, Reason
from attribution.commission import Bound, Payment, Refund
from attribution.warehouse import Warehouse, load_queries
from tracker.standing import Change, Rate, Standing, standing

QUERIES = load_queries(Path(__file__).with_name("queries"))

IDS_PER_QUERY = 500
"""Partner ids passed as one parameter: at most 33 kB of them."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which license to read, from facts up to `through_load`."""

    through_load: int
    license_id: str

    @property
    def parameters(self) -> dict[str, Any]:
        return {"through_load": self.through_load, "license_id": self.license_id}


@dataclass(frozen=True, slots=True)
class Published:
    """The newest published round, and the newest load that it has seen."""

    round: int
    through_load: int


def read_published(warehouse: Warehouse) -> Published:
    """What readers may see. Both are 0 before the first round."""
    return Published(**warehouse.rows(QUERIES["facts_published"])[0])


def read_is_blocked(warehouse: Warehouse, license_id: str) -> bool:
    """Whether a license is held for fraud now (R12), whatever rounds have seen."""
    rows = warehouse.rows(QUERIES["facts_blocked"], license_id=license_id)
    return bool(rows[0]["is_blocked"])


def read_license(warehouse: Warehouse, scope: Scope) -> License | None:
    """The license, if it is known."""
    return next((License(**row) for row in warehouse.rows(QUERIES["facts_licenses"], **scope.parameters)), None)


def read_payments(warehouse: Warehouse, scope: Scope) -> list[Payment]:
    """The payments of the license, by time."""
    return [Payment(**row) for row in warehouse.rows(QUERIES["facts_payments"], **scope.parameters)]


def read_refunds(warehouse: Warehouse, scope: Scope) -> dict[str, list[Refund]]:
    """Payment id → its refunds, chargebacks and won disputes."""
    refunds: dict[str, list[Refund]] = defaultdict(list)
    for row in warehouse.rows(QUERIES["facts_refunds"], **scope.parameters):
        refunds[row["payment_id"]].append(Refund(**row))
    return refunds


def read_join(warehouse: Warehouse, through_load: int, partner_id: str) -> Joined | None:
    """The join of a partner, if it is known."""
    rows = warehouse.rows(QUERIES["facts_joins"], through_load=through_load, partner_id=partner_id)
    return next((Joined(**row) for row in rows), None)


@dataclass(frozen=True, slots=True)
class Binding:
    """Whom a license belongs to, as `round` decided: a row of `binding_versions`. `click_id` is nil without a click."""

    license_id: str
    product: str
    started_at: int
    origin: str
    payment_origin: str
    transferred_at: int | None
    data_center: str
    partner_id: str
    recruiter_id: str
    click_id: str
    clicked_at: int
    click_product: str
    campaign: str
    reason: str
    rule: str
    round: int

    @property
    def bound(self) -> Bound:
        """As much of it as money needs."""
        return Bound(
            self.partner_id,
            self.recruiter_id,
            self.reason == Reason.SELF_REFERRAL,
            self.payment_origin,
            self.transferred_at,
        )


def read_bindings(warehouse: Warehouse, round: int, license_id: str) -> list[Binding]:
    """The bindings of a license up to and with `round`, newest first."""
    return [Binding(**row) for row in warehouse.rows(QUERIES["facts_bindings"], round=round, license_id=license_id)]


@dataclass(frozen=True, slots=True)
class Recruitment:
    """Who recruited a partner, as decided. Empty when nobody did."""

    partner_id: str
    recruiter_id: str
    click_id: str
    clicked_at: int
    reason: str
    rule: str


class Partners:
    """What is known of partners, read when first asked for: their standing, and who recruited them.

    Recruiters are as decided up to and with `round`; ask for them after that round has decided them.
    """

    def __init__(self, warehouse: Warehouse, through_load: int, round: int) -> None:
        self._warehouse = warehouse
        self._through_load = through_load
        self._round = round
        self._standings: dict[str, Standing | None] = {}
        self._recruitments: dict[str, Recruitment | None] = {}

    def standings(self, partner_ids: Iterable[str]) -> Mapping[str, Standing]:
        """Partner ID → standing of those who are known."""
        wanted = set(partner_ids) - {""}
        for some in _batches(wanted - self._standings.keys()):
            self._standings.update(dict.fromkeys(some, None))
            self._standings.update(read_standings(self._warehouse, some, self._through_load))
        return {each: known for each in wanted if (known := self._standings[each])}

    def recruitments(self, partner_ids: Iterable[str]) -> Mapping[str, Recruitment]:
        """Partner ID → recruitment of those whose join is decided."""
        wanted = set(partner_ids) - {""}
        for some in _batches(wanted - self._recruitments.keys()):
            self._recruitments.update(dict.fromkeys(some, None))
            self._recruitments.update(read_recruitments(self._warehouse, some, self._round))
        return {each: known for each in wanted if (known := self._recruitments[each])}


def read_standings(warehouse: Warehouse, partner_ids: list[str], through_load: int) -> dict[str, Standing]:
    """Partner ID → standing, for the known ones of a short list."""
    changes: dict[str, list[Change]] = defaultdict(list)
    rates: dict[str, list[Rate]] = defaultdict(list)
    wanted = {"partner_ids": partner_ids, "through_load": through_load}
    for event in warehouse.rows(QUERIES["facts_partner_events"], **wanted):
        of = event["partner_id"]
        if event["kind"] == "rate_changed":
            rates[of].append(_rate(event))
        else:
            changes[of].append(Change(event["occurred_at"], event["event_id"], event["kind"]))
    return {
        of: standing(of, row["joined_at"], row["email_hash"], changes[of], rates[of])
        for row in warehouse.rows(QUERIES["facts_partners"], **wanted)
        for of in (row["partner_id"],)
    }


def _rate(event: Mapping[str, Any]) -> Rate:
    return Rate(
        event["occurred_at"],
        event["event_id"],
        event["first_tier_percent_hundredths"],
        event["second_tier_percent_hundredths"],
        event["until"],
    )


def read_recruitments(warehouse: Warehouse, partner_ids: list[str], round: int) -> dict[str, Recruitment]:
    """Partner ID → who recruited them, as decided up to and with `round`, for a short list."""
    rows = warehouse.rows(QUERIES["facts_recruiters"], partner_ids=partner_ids, round=round)
    return {row["partner_id"]: Recruitment(**row) for row in rows}


def _batches(ids: set[str]) -> Iterable[list[str]]:
    ordered = sorted(ids)
    return (ordered[start : start + IDS_PER_QUERY] for start in range(0, len(ordered), IDS_PER_QUERY))
