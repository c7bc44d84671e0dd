"""`lasttouch audit`: recompute every ledger line from the raw facts and compare to the cent; what else must agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import redis

from attribution.audit_chains import difference_chain
from attribution.audit_touches import TouchesCompared, compare_touches
from attribution.findings import MAX_LISTED, Finding, Findings
from attribution.recomputation import Recomputation, recomputed
from attribution.replay import compare_with_replay
from attribution.warehouse import Warehouse
from tracker.program import Program

MAX_CHAINS = 20
"""Differences that are listed with their chains."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A money event, tier and partner where the ledger is not what the rules give, in cents. `chain` tells in sentences
    what the facts give and what was posted; it is empty beyond MAX_CHAINS differences."""

    license_id: str
    payment_id: str
    money_event_id: str
    tier: int
    partner_id: str
    expected_cents: int
    posted_cents: int
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """The result for facts up to `through_load` and lines up to `round`. The lists are cut, the counts are not.

    `touches` is None where there was no Redis to compare with."""

    round: int
    through_load: int
    lines: int
    difference_count: int
    differences: tuple[Difference, ...]
    finding_counts: dict[str, int]
    findings: tuple[Finding, ...]
    touches: TouchesCompared | None = None
    is_replayed: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees. Facts that exceed a payment are listed, not wrong."""
        wrong = sum(count for kind, count in self.finding_counts.items() if kind not in REMARKS)
        return not self.difference_count and not wrong


FINDING_QUERIES = {
    "binding_differs": "audit_bindings",
    "partner_binding_differs": "audit_partner_bindings",
    "shown_binding_differs": "audit_shown",
    "clicks_of_day_differ": "audit_click_days",
    "recruiter_differs": "audit_recruiters",
    "shown_recruiter_differs": "audit_shown",
    "line_without_payment": "audit_lines_without_payment",
    "exceeds_payment": "audit_exceeds_payment",
    "overdrawn_withdrawal": "audit_withdrawals",
    "subscription_differs": "audit_subscriptions",
}
SHOWN = {
    "shown_binding_differs": {
        "shown": "bindings", "versions": "binding_versions", "id": "license_id", "whose": "partner_id",
        "words": "bound to",
    },
    "shown_recruiter_differs": {
        "shown": "recruitments", "versions": "recruitment_versions", "id": "partner_id", "whose": "recruiter_id",
        "words": "recruited by",
    },
}  # fmt: skip
"""Which tables audit_shown.sql compares."""
REMARKS = frozenset({"exceeds_payment"})
"""Findings about the facts as they came, not about our results."""


def audit(warehouse: Warehouse, program: Program, client: redis.Redis | None = None, replays: bool = False) -> Audit:
    """Recompute everything that is published and compare; with `client`, which must give bytes, also Redis's touches;
    with `replays`, also everything derived with a replay. Meanwhile rounds and other audits may go on, other replays
    may not.

    Raises Unavailable when a store does not answer.
    """
    findings = Findings()
    with recomputed(warehouse, program) as expected:
        result = _compare(expected, program, findings)
    touches = None
    if client is not None:
        touches = compare_touches(client, warehouse, result.through_load, program.window_ms, findings)
    if replays:
        compare_with_replay(warehouse, program, result.round, result.through_load, findings)
    return replace(
        result,
        finding_counts=dict(findings.counts),
        findings=tuple(findings.listed),
        touches=touches,
        is_replayed=replays,
    )


def _compare(expected: Recomputation, program: Program, findings: Findings) -> Audit:
    rows = expected.rows("audit_lines", per_partner=0, max_rows=MAX_LISTED)
    for kind, query in FINDING_QUERIES.items():
        findings.add_rows(kind, expected.rows(query, max_rows=MAX_LISTED, **SHOWN.get(kind, {})))
    totals = expected.rows("audit_totals")[0]
    off = totals["total_cents"] - totals["first_tier_cents"] - totals["second_tier_cents"]
    findings.add("totals", [("ledger", f"the headline is {off} cents more than the tiers")] if off else [])
    return Audit(
        expected.round,
        expected.through_load,
        totals["lines"],
        rows[0]["found"] if rows else 0,
        tuple(_difference(expected, program, row, place < MAX_CHAINS) for place, row in enumerate(rows)),
        {},
        (),
    )


def _difference(expected: Recomputation, program: Program, row: dict[str, Any], is_explained: bool) -> Difference:
    del row["found"]
    difference = Difference(**row)
    if not is_explained:
        return difference
    event = (difference.money_event_id, difference.tier, difference.partner_id)
    where = (expected.warehouse, program, expected.round, difference.license_id, difference.payment_id)
    return replace(difference, chain=tuple(difference_chain(*where, event)))
