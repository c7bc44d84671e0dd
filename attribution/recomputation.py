"""What rules give on the raw facts, computed anew: what audits and what-ifs stand on.

The rules are in SQL here, `queries/audit_*.sql`, written apart from the code that rounds of attribution decide by.
Whom licenses belong to goes through scratch tables, a partition each time; nothing else is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribution.warehouse import Warehouse, load_queries
from tracker.program import Program

QUERIES = load_queries(Path(__file__).with_name("queries"))

GATHERING = ("audit_gather_sources", "audit_gather_recruiters", "audit_gather_bindings")
SCRATCH_TABLES = ("audit_sources", "audit_recruiters", "audit_bindings")


@dataclass(frozen=True, slots=True)
class Recomputation:
    """Rules applied to the facts that `round` has seen. Its queries can be asked until the context ends."""

    warehouse: Warehouse
    round: int
    through_load: int
    parameters: dict[str, Any]

    def rows(self, query: str, **more: Any) -> list[dict[str, Any]]:
        """The rows of a named query, with the parameters that all of them share."""
        return self.warehouse.rows(QUERIES[query], **{**self.parameters, **more})


@contextmanager
def recomputed(warehouse: Warehouse, program: Program, picks_first: bool = False) -> Iterator[Recomputation]:
    """The program's rules on everything that is published; with `picks_first` the oldest click wins instead of the
    newest. Rounds and other recomputations may go on meanwhile."""
    published = warehouse.rows(QUERIES["facts_published"])[0]
    number = secrets.randbits(63)
    parameters: dict[str, Any] = {
        **published,
        "audit": number,
        "window_ms": program.window_ms,
        "picks_first": int(picks_first),
        "allow_self_referral": int(program.allow_self_referral),
        "first_percent": program.first_tier_percent_hundredths,
        "second_percent": program.second_tier_percent_hundredths,
    }
    try:
        for query in GATHERING:
            warehouse.run(QUERIES[query], **parameters)
        yield Recomputation(warehouse, published["round"], published["through_load"], parameters)
    finally:
        for table in SCRATCH_TABLES:
            warehouse.run(QUERIES["audit_forget"], table=table, audit=number)
