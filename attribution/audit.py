"""`lasttouch audit`: recompute every ledger line from the raw facts and compare to the cent."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from attribution.recomputation import Recomputation, recomputed
from attribution.warehouse import Warehouse
from tracker.program import Program

MAX_ROWS = 1_000
"""Differences, and findings of one kind, that are listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A money event, tier and partner where the ledger is not what the rules give, in cents."""

    license_id: str
    payment_id: str
    money_event_id: str
    tier: int
    partner_id: str
    expected_cents: int
    posted_cents: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at. `kind` is a key of FINDING_QUERIES, or `totals`; `subject` the id that it is about."""

    kind: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The result for facts up to `through_load` and lines up to `round`. The lists are cut, the counts are not."""

    round: int
    through_load: int
    lines: int
    difference_count: int
    differences: tuple[Difference, ...]
    finding_counts: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether ledger and bindings are what the rules give. Facts that exceed a payment are listed, not wrong."""
        wrong = sum(count for kind, count in self.finding_counts.items() if kind not in REMARKS)
        return not self.difference_count and not wrong


FINDING_QUERIES = {
    "binding_differs": "audit_bindings",
    "recruiter_differs": "audit_recruiters",
    "line_without_payment": "audit_lines_without_payment",
    "exceeds_payment": "audit_exceeds_payment",
}
REMARKS = frozenset({"exceeds_payment"})
"""Findings about the facts as they came, not about our results."""


def audit(warehouse: Warehouse, program: Program) -> Audit:
    """Recompute everything that is published and compare. Rounds and other audits may go on meanwhile."""
    with recomputed(warehouse, program) as expected:
        return _compare(expected)


def _compare(expected: Recomputation) -> Audit:
    rows = expected.rows("audit_lines", per_partner=0, max_rows=MAX_ROWS)
    difference_count = rows[0]["found"] if rows else 0
    findings: list[Finding] = []
    counts: dict[str, int] = {}
    for kind, query in FINDING_QUERIES.items():
        found = expected.rows(query, max_rows=MAX_ROWS)
        counts[kind] = found[0]["findings"] if found else 0
        findings.extend(Finding(kind, row["subject"], row["detail"]) for row in found)
    totals = expected.rows("audit_totals")[0]
    counts["totals"] = 0
    if off := totals["total_cents"] - totals["first_tier_cents"] - totals["second_tier_cents"]:
        counts["totals"] = 1
        findings.append(Finding("totals", "ledger", f"the headline is {off} cents more than the tiers"))
    return Audit(
        expected.round,
        expected.through_load,
        totals["lines"],
        difference_count,
        tuple(_difference(row) for row in rows),
        counts,
        tuple(findings),
    )


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(**{item.name: row[item.name] for item in fields(Difference)})
