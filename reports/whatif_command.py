"""`lasttouch whatif`: asks the running server or opens the stores, as `audit` does, and prints the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from attribution.whatif import what_if
from reports import wording
from reports.maintenance import ask_running, own_warehouse
from reports.marketing.whatif import COLUMNS, read_rules, whatif_document
from reports.spreadsheet import csv_text
from tracker.errors import BadRequest, SettingError
from tracker.program import load_program
from tracker.settings import Settings

FLAGS = {
    "window_days": "--window-days",
    "first_tier_percent": "--first-tier",
    "second_tier_percent": "--second-tier",
    "allow_self_referral": "--allow-self-referral",
    "model": "--model",
}
MAX_ROWS_SHOWN = 1_000
HEADER = ("partner", "licenses", "would be", "first tier", "would be", "second tier", "would be", "difference")


def whatif_command(settings: Settings, given: Mapping[str, str], output_format: str) -> int:
    """Print what the ledger would be as `table`, `json` or `csv`. `given` has a text per name of FLAGS, empty for the
    program's own. The exit code is 0; raises SettingError that names a wrong flag."""
    program = load_program(settings.program_path)
    try:
        rules = read_rules(given, program)
    except BadRequest as problem:
        error = problem.errors[0]
        raise SettingError(f"{FLAGS[error['field']]} {error['message']}") from None
    query = urlencode({name: value for name, value in given.items() if value})
    document = ask_running(settings, f"/v2/reports/whatif?{query}", method="GET")
    if document is None:
        with own_warehouse(settings) as warehouse:
            document = whatif_document(what_if(warehouse, program, rules))
    if output_format == "json":
        print(json.dumps(document, indent=2))
    elif output_format == "csv":
        print(csv_text(COLUMNS, document["items"]), end="")
    else:
        print("\n".join(whatif_report(document, program.currency)))
    return 0


def whatif_report(document: Mapping[str, Any], currency: str) -> list[str]:
    """A what-if as lines to print: the rules, a table of the partners for whom it would differ, and the total."""
    changed = [item for item in document["items"] if item["difference_cents"]]
    lines = [f"now:  {_sentence(document['now'])}", f"then: {_sentence(document['then'])}", ""]
    rows = [HEADER, *(_row(item["partner_id"], item, currency) for item in changed[:MAX_ROWS_SHOWN])]
    rows.append(_row("total", document["total"], currency))
    lines += _in_columns(rows)
    lines.append("")
    if len(changed) > MAX_ROWS_SHOWN:
        lines.append(f"{len(changed) - MAX_ROWS_SHOWN:,} more partners differ; --format csv has them all.")
    lines.append(f"For {len(document['items']) - len(changed):,} other partners nothing would differ.")
    lines.append(f"{document['moved_licenses']:,} licenses would be somebody else's, or nobody's.")
    lines.append(f"As of round {document['round']} (load {document['through_load']}); nothing was changed.")
    return lines


def _sentence(rules: Mapping[str, Any]) -> str:
    referral = "earns" if rules["allow_self_referral"] else "earns nothing"
    return (
        f"{rules['model']} click within {rules['window_days']} days, {rules['first_tier_percent']} % and "
        f"{rules['second_tier_percent']} %, a self-referral {referral}"
    )


def _row(name: str, sums: Mapping[str, Any], currency: str) -> tuple[str, ...]:
    def money(key: str) -> str:
        return wording.money(sums[key], currency)

    return (
        name,
        f"{sums['licenses_now']:,}",
        f"{sums['licenses_then']:,}",
        *(money(f"{tier}_tier_{when}_cents") for tier in ("first", "second") for when in ("now", "then")),
        f"{'+' if sums['difference_cents'] > 0 else ''}{money('difference_cents')}",
    )


def _in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under each other: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
