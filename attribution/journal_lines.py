"""What one line of the journal may be: checks that end in a value, or a ValueError that says what is wrong.

ClickHouse takes clicks as they are in the journal (TabSeparated). Facts are JSON lines that are checked here first,
because ClickHouse would read a number that is too big, or an object, as something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from tracker import events, redis_keys
from tracker.events import CLICK_COLUMNS


@dataclass(frozen=True, slots=True)
class FactTable:
    """Where facts of one type are stored. `kinds` has each field's annotation in events.py."""

    table: str
    id_column: str
    kinds: Mapping[str, str]
    required: frozenset[str]


def _fact_table(fact: Any, table: str, id_column: str) -> FactTable:
    items = fields(fact)
    required = frozenset(item.name for item in items if item.default is MISSING)
    return FactTable(table, id_column, {item.name: str(item.type) for item in items}, required)


FACT_TABLES: Mapping[str, FactTable] = {
    "partner": _fact_table(events.PartnerJoined, "partners", "partner_id"),
    "signup": _fact_table(events.SignedUp, "signups", "license_id"),
    "solution_license": _fact_table(events.SolutionLicenseCreated, "solution_licenses", "license_id"),
    "license_transfer": _fact_table(events.LicenseTransferred, "license_transfers", "event_id"),
    "payment": _fact_table(events.Paid, "payments", "payment_id"),
    "refund": _fact_table(events.Refunded, "refunds", "refund_id"),
    "license_event": _fact_table(events.LicenseChanged, "license_events", "event_id"),
    "subscription_event": _fact_table(events.SubscriptionChanged, "subscription_events", "event_id"),
    "partner_event": _fact_table(events.PartnerChanged, "partner_events", "event_id"),
}
"""Type of a fact → its table. Clicks are not here: they come as TabSeparated."""


@dataclass(frozen=True, slots=True)
class ClientTable:
    """Where clients' records of one type are stored. The first `key_columns` of `columns` say whose each is."""

    table: str
    columns: tuple[str, ...]
    key_columns: int = 1


def _client_table(record: Any, table: str, key_columns: int = 1) -> ClientTable:
    columns = tuple(item.name for item in fields(record) if item.name != "data_center")
    return ClientTable(table, columns, key_columns)


CLIENT_TABLES: Mapping[str, ClientTable] = {
    "client": _client_table(events.ClientNamed, "clients"),
    "organization": _client_table(events.OrganizationNamed, "organizations"),
    "operator": _client_table(events.OperatorInvited, "operators", 2),
}
"""Type of a client's record → its table in a data center's store."""


_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ONE_CLICK = re.compile(rf"{_UUID}\t[0-9]{{13}}\t(?:{_UUID}|\\N)\t[^\n]*".encode())
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", re.ASCII)
_VISITOR = re.compile(_UUID)
_GREATEST = {"seats": 2**32 - 1, "number": 2**32 - 1, "trial_days": 2**16 - 1, "first_tier_percent_hundredths": 10_000,
             "second_tier_percent_hundredths": 10_000}  # fmt: skip


def are_clicks(lines: bytes, count: int | None) -> bool:
    """Whether a batch can be given to ClickHouse as it is: `count` whole lines of text. What it takes and we would not
    is looked for once the lines are staged."""
    return lines.count(b"\n") == count and lines[-1:] in (b"\n", b"") and (lines.isascii() or _is_text(lines))


def check_click(line: bytes) -> None:
    """Whether a line is a click."""
    if not _is_text(line):
        raise ValueError("not UTF-8")
    cells = line.count(b"\t") + 1
    if cells != len(CLICK_COLUMNS):
        raise ValueError(f"a click has {len(CLICK_COLUMNS)} cells, this has {cells}")
    if not _ONE_CLICK.fullmatch(line):
        raise ValueError("click_id, clicked_at or visitor_id is malformed")


def fact_type(line: bytes) -> str:
    """The type of the fact that a line is."""
    document = _json_object(line)
    kind = document.pop("type", None)
    table = FACT_TABLES.get(kind) if isinstance(kind, str) else None
    if table is None:
        raise ValueError(f"unknown type of fact: {kind!r:.80}")
    if unknown := sorted(document.keys() - table.kinds.keys()):
        raise ValueError(f"unknown field of a {kind}: {unknown[0]!r:.80}")
    if missing := sorted(table.required - document.keys()):
        raise ValueError(f"{missing[0]} is missing")
    if not document[table.id_column]:
        raise ValueError(f"{table.id_column} is empty")
    for name, value in document.items():
        _check_value(name, table.kinds[name], value)
    return str(kind)


def directory_entry(line: bytes) -> tuple[str, str, str, int]:
    """Kind, key, value and `written_at` of a directory change."""
    document = _json_object(line)
    kind, key, value, at = (document.get(name) for name in ("kind", "key", "value", "written_at"))
    if not (isinstance(kind, str) and isinstance(key, str) and isinstance(value, str) and type(at) is int):
        raise ValueError("a directory entry has the texts kind, key and value, and the time written_at in ms")
    return kind, key, value, at


def client_record(line: bytes, stream: str) -> tuple[str, tuple[str, ...]]:
    """The type of a client's record whose data belong where `stream` leads, and its row: the columns of its table."""
    document = _json_object(line)
    kind = document.get("type")
    table = CLIENT_TABLES.get(kind) if isinstance(kind, str) else None
    if table is None:
        raise ValueError(f"unknown type of client's record: {kind!r:.80}")
    row = tuple(document.get(column, "") for column in table.columns)
    if not all(isinstance(text, str) for text in row) or not all(row[: table.key_columns]):
        raise ValueError(f"a {kind} has the texts {', '.join(table.columns)}")
    if redis_keys.client_journal(str(document.get("data_center"))) != stream:
        raise ValueError("the client's data center is not this stream's")
    return str(kind), row


def _check_value(name: str, kind: str, value: object) -> None:
    if value is None:
        if "None" not in kind:
            raise ValueError(f"{name} is null")
    elif name.endswith("_at") or name == "until":
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError(f"{name} is not a time")
    elif kind.startswith("int"):
        if type(value) is not int or not -(2**63) <= value <= _GREATEST.get(name, 2**63 - 1):
            raise ValueError(f"{name} is not a whole number in its range")
    elif not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    elif name == "visitor_id" and not _VISITOR.fullmatch(value):
        raise ValueError("visitor_id is not a UUID")


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
