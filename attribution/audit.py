"""`lasttouch audit`: recompute every ledger line from the raw facts and compare to the cent.

The rules are in SQL here, `queries/audit_*.sql`, written apart from the Python that rounds of attribution decide by.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from attribution.warehouse import Warehouse, load_queries
from tracker.program import Program

QUERIES = load_queries(Path(__file__).with_name("queries"))

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

GATHERING = ("audit_gather_sources", "audit_gather_recruiters", "audit_gather_bindings")
SCRATCH_TABLES = ("audit_sources", "audit_recruiters", "audit_bindings")


def audit(warehouse: Warehouse, program: Program) -> Audit:
    """Recompute everything that is published and compare. Rounds and other audits may go on meanwhile."""
    published = warehouse.rows(QUERIES["facts_published"])[0]
    number = secrets.randbits(63)
    parameters: dict[str, Any] = {
        **published,
        "audit": number,
        "window_ms": program.window_ms,
        "allow_self_referral": int(program.allow_self_referral),
        "first_percent": program.first_tier_percent_hundredths,
        "second_percent": program.second_tier_percent_hundredths,
        "max_rows": MAX_ROWS,
    }
    try:
        for query in GATHERING:
            warehouse.run(QUERIES[query], **parameters)
        return _compare(warehouse, parameters)
    finally:
        for table in SCRATCH_TABLES:
            warehouse.run(QUERIES["audit_forget"], table=table, audit=number)


def _compare(warehouse: Warehouse, parameters: dict[str, Any]) -> Audit:
    rows = warehouse.rows(QUERIES["audit_lines"], **parameters)
    difference_count = rows[0].pop("differences") if rows else 0
    findings: list[Finding] = []
    counts: dict[str, int] = {}
    for kind, query in FINDING_QUERIES.items():
        found = warehouse.rows(QUERIES[query], **parameters)
        counts[kind] = found[0]["findings"] if found else 0
        findings.extend(Finding(kind, row["subject"], row["detail"]) for row in found)
    totals = warehouse.rows(QUERIES["audit_totals"], **parameters)[0]
    counts["totals"] = 0
    if off := totals["total_cents"] - totals["first_tier_cents"] - totals["second_tier_cents"]:
        counts["totals"] = 1
        findings.append(Finding("totals", "ledger", f"the headline is {off} cents more than the tiers"))
    return Audit(
        parameters["round"],
        parameters["through_load"],
        totals["lines"],
        difference_count,
        tuple(_difference(row) for row in rows),
        counts,
        tuple(findings),
    )


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(**{item.name: row[item.name] for item in fields(Difference)})
