"""`lasttouch audit`: asks the running server or opens the stores, and prints what does not agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from redis import Redis

from attribution.audit import audit
from reports.admin.maintenance import audit_document, redis_client
from reports.maintenance import ask_running, own_warehouse, table
from tracker import redis_server
from tracker.data_folder import DataFolder
from tracker.program import load_program
from tracker.settings import Settings

DIFFERENCE_COLUMNS = (
    "license_id", "payment_id", "money_event_id", "tier", "partner_id", "expected_cents", "posted_cents",
)  # fmt: skip
FINDING_COLUMNS = ("kind", "subject", "detail")


def audit_command(settings: Settings, replays: bool) -> int:
    """Print what was audited, and tables of what does not agree. The exit code: 0 when all agrees, else 1."""
    found = ask_running(settings, f"/v2/admin/audit?replay={str(replays).lower()}")
    if found is None:
        program = load_program(settings.program_path)
        with own_warehouse(settings) as warehouse, _own_redis(settings) as client:
            found = audit_document(audit(warehouse, program, client, replays))
    print("\n".join(audit_report(found)))
    return 0 if found["is_clean"] else 1


def audit_report(found: Mapping[str, Any]) -> list[str]:
    """An audit as lines to print: what does not agree, then what was looked at, then the verdict."""
    lines: list[str] = []
    if found["difference_count"]:
        lines += [f"{found['difference_count']:,} differences between the ledger and the rules, in cents:", ""]
        lines += _listed(DIFFERENCE_COLUMNS, found["differences"], found["difference_count"])
        lines += _chains(found["differences"])
    if found["findings"]:
        total = sum(found["finding_counts"].values())
        lines += [f"{total:,} findings:", "", *_listed(FINDING_COLUMNS, found["findings"], total)]
    lines.append(_about_touches(found["touches"]))
    if found["is_replayed"]:
        lines.append("Compared bindings, recruiters, standings and the ledger's sums with a replay of all facts.")
    checked = f"{found['lines']:,} commission lines up to round {found['round']} (load {found['through_load']})"
    verdict = "every one is what the rules give" if found["is_clean"] else "NOT everything agrees"
    return [*lines, f"Audited {checked}: {verdict}."]


def _listed(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], total: int) -> list[str]:
    more = [f"… and {total - len(rows):,} more"] if total > len(rows) else []
    return [*table(columns, rows), *more, ""]


def _chains(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    """The chains of those differences that have one."""
    lines: list[str] = []
    for one in differences:
        if one["chain"]:
            lines.append(f"{one['money_event_id']}, tier {one['tier']}, {one['partner_id']}:")
            lines += [f"    {sentence}" for sentence in one["chain"]]
    return [*lines, ""]


def _about_touches(touches: Mapping[str, Any] | None) -> str:
    if touches is None:
        return "Touches were not compared: no Redis is known here."
    shares, of_shares = touches["shares"], touches["of_shares"]
    sample = f", {shares} of {of_shares} shares of all" if shares < of_shares else ""
    return f"Compared the touches of {touches['visitors']:,} visitors in Redis with their clicks{sample}."


@contextmanager
def _own_redis(settings: Settings) -> Iterator[Redis | None]:
    """The Redis of the settings, or the embedded one of the data folder; None where there is neither."""
    with ExitStack() as stack:
        if settings.redis_url is None and not (settings.data / "redis").exists():
            yield None
            return
        # With an embedded ClickHouse we hold the data folder; with another one a server may run on it.
        is_ours = settings.clickhouse_is_embedded or not DataFolder(settings.data).is_served()
        if settings.redis_url is None and is_ours:
            settings = replace(settings, redis_url=stack.enter_context(redis_server.running(settings)))
        yield stack.enter_context(redis_client(settings))
