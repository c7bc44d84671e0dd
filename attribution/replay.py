"""`lasttouch audit --replay`: everything derived, built anew in a scratch database from the facts, and compared.

The scratch database shares the files of the facts (hard links), so it takes no second copy of them. It is dropped in
the end; one that a crash left behind is dropped by the next replay. The rounds that it runs are the ordinary ones.

Not compared, because it may rightly differ: numbers of rounds, ids of ledger lines and when they were posted, and by
which corrections a sum was reached. A replay sees all facts at once; the ledger saw them come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attribution.findings import MAX_LISTED, Findings
from attribution.journal_lines import FACT_TABLES
from attribution.ledger import run_round
from attribution.recomputation import QUERIES
from attribution.warehouse import Warehouse
from tracker.program import Program

FACTS = ("clicks", *(fact.table for fact in FACT_TABLES.values()))

POSTED_AT_MS = 0
"""When a replay's lines say that they were posted: nobody asks."""

_BINDINGS = {"table": "bindings", "versions": "binding_versions", "id": "license_id"}
_RECRUITMENTS = {"table": "recruitments", "versions": "recruitment_versions", "id": "partner_id"}
COMPARED: dict[str, tuple[str, dict[str, str]]] = {
    "replayed_ledger_differs": ("replay_ledger", {}),
    "replayed_binding_differs": ("replay_versions", _BINDINGS),
    "replayed_recruiter_differs": ("replay_versions", _RECRUITMENTS),
    "replayed_spans_differ": ("replay_partners", {"table": "partner_spans"}),
    "replayed_standing_differs": ("replay_partners", {"table": "standings"}),
}
"""Kind of finding → the query that looks for it, and what it looks at."""


def compare_with_replay(
    warehouse: Warehouse, program: Program, round: int, through_load: int, findings: Findings
) -> None:
    """Add to `findings` where what is published up to `round` is not what a replay of all loads up to `through_load`
    gives. Rounds may go on meanwhile, other replays may not."""
    with _scratch(warehouse) as scratch:
        for table in FACTS:
            # Names of our own; ClickHouse takes no parameter in this place.
            statement = f"alter table {{scratch:Identifier}}.{table} attach partition all from {table}"
            warehouse.run(statement, scratch=scratch.database)
        if through_load:
            columns = ["load_id", "stream", "is_finished", "written_at"]
            scratch.insert("loads", columns, [[through_load, "replay", 1, POSTED_AT_MS]])
        run_round(scratch, program, POSTED_AT_MS)
        common = {"replayed": scratch.database, "round": round, "max_rows": MAX_LISTED}
        for kind, (query, of) in COMPARED.items():
            findings.add_rows(kind, warehouse.rows(QUERIES[query], **common, **of))


@contextmanager
def _scratch(warehouse: Warehouse) -> Iterator[Warehouse]:
    """An empty, migrated database beside the warehouse's own, dropped in the end."""
    name = f"{warehouse.database}_replay"
    warehouse.run(QUERIES["replay_drop"], scratch=name)
    scratch = warehouse.sibling(name)
    try:
        scratch.migrate()
        yield scratch
    finally:
        scratch.close()
        warehouse.run(QUERIES["replay_drop"], scratch=name)
