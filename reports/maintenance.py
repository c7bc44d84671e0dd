"""`lasttouch rebuild` and `quarantine`: with the server running they ask it, else they open the stores.

An embedded ClickHouse has one process only, so while `lasttouch serve` runs it is the app that does the work.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from attribution.client_stores import ClientStores
from attribution.lease import Lease
from attribution.process import rebuild_everything
from attribution.quarantine import Quarantine
from attribution.warehouse import Warehouse
from reports.admin.maintenance import replay
from tracker import redis_server
from tracker.data_folder import DataFolder
from tracker.errors import LasttouchError, SettingError
from tracker.program import load_program
from tracker.settings import Settings

TIMEOUT_SECONDS = 3600.0
QUARANTINE_COLUMNS = ("quarantine_id", "stream", "facts", "reason", "text")
MAX_QUARANTINED = 1000
SHOWN_CHARACTERS = 80  # of a piece's bytes


def rebuild_command(settings: Settings) -> int:
    """Print each step of a rebuild. Raises LasttouchError where it cannot be done; the exit code is 0."""
    if not settings.clickhouse_is_embedded and DataFolder(settings.data).is_served():
        raise LasttouchError(f"stop the server on {settings.data} first: no attribution may run during a rebuild")
    found = ask_running(settings, "/v2/admin/rebuild")
    if found is not None:
        print("\n".join(found["steps"]))
        return 0
    program = load_program(settings.program_path)
    with own_warehouse(settings) as warehouse, ExitStack() as stack:
        redis_url = settings.redis_url or stack.enter_context(redis_server.running(settings))
        settings = replace(settings, redis_url=redis_url)
        lease = Lease(settings)
        stack.enter_context(lease.held())
        rebuild_everything(settings, program, warehouse, lease, print)
    return 0


def quarantine_command(settings: Settings, replay_ids: Sequence[str]) -> int:
    """List what could not be understood, oldest first, or put pieces back. Exit code 1 when an id is not there."""
    if not replay_ids:
        pieces = _quarantined(settings)
        print("\n".join(table(QUARANTINE_COLUMNS, pieces)) if pieces else "Nothing is in quarantine.")
        return 0
    ids = [piece["quarantine_id"] for piece in _quarantined(settings)] if replay_ids == ["all"] else list(replay_ids)
    found = ask_running(settings, "/v2/admin/quarantine/replay", {"ids": ids})
    if found is None:
        program = load_program(settings.program_path)
        with own_warehouse(settings) as warehouse, ExitStack() as stack:
            redis_url = settings.redis_url or stack.enter_context(redis_server.running(settings))
            found = {"replayed": replay(replace(settings, redis_url=redis_url), program, warehouse, ids)}
    missing = sorted(set(ids) - set(found["replayed"]))
    print(f"{len(found['replayed'])} put back into the journal; the next load takes them.")
    for one in missing:
        print(f"{one} is not in quarantine")
    return 1 if missing else 0


def _quarantined(settings: Settings) -> list[dict[str, Any]]:
    """Quarantined pieces as rows of QUARANTINE_COLUMNS."""
    found = ask_running(settings, f"/v2/admin/quarantine?limit={MAX_QUARANTINED}", method="GET")
    if found is not None:
        return [{**item, "text": item["text"][:SHOWN_CHARACTERS]} for item in reversed(found["items"])]
    program = load_program(settings.program_path)
    with own_warehouse(settings) as warehouse:
        pieces = Quarantine(ClientStores(warehouse, program.data_centers)).listed(MAX_QUARANTINED)
    return [{**asdict(piece), "text": piece.bytes.decode(errors="replace")[:SHOWN_CHARACTERS]} for piece in pieces]


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as text in columns, under their names."""
    cells = [[str(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, (name, *column))) for name, column in zip(columns, zip(*cells, strict=True), strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in (columns, *cells)
    ]
    return [line.rstrip() for line in lines]


@contextmanager
def own_warehouse(settings: Settings) -> Iterator[Warehouse]:
    """The ClickHouse, opened by this process; an embedded one only while nobody else uses the data folder."""
    folder = DataFolder(settings.data)
    if settings.clickhouse_is_embedded:
        if not (settings.data / "clickhouse").exists() and settings.clickhouse_url is None:
            raise SettingError(f"{settings.data} holds no data yet")
        folder.lock()
    try:
        warehouse = Warehouse.open(settings.effective_clickhouse_url)
        try:
            warehouse.migrate()
            yield warehouse
        finally:
            warehouse.close()
    finally:
        folder.unlock()


def ask_running(
    settings: Settings, path: str, body: Mapping[str, Any] | None = None, method: str = "POST"
) -> dict[str, Any] | None:
    """The answer of the app that serves the data folder with an embedded ClickHouse; None where there is none."""
    folder = DataFolder(settings.data)
    if not settings.clickhouse_is_embedded or not folder.is_served():
        return None
    running = folder.running()
    if running is None:
        raise LasttouchError(f"the server on {settings.data} is just starting or stopping; try again in a moment")
    token = settings.admin_token or folder.kept_admin_token() or ""
    connection = http.client.HTTPConnection(urlsplit(running.app_url).netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, json.dumps(body or {}), {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise LasttouchError(f"no answer from {running.app_url}: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise LasttouchError(
            f"{running.app_url}{path} answers {answer.status}: {content[:300].decode(errors='replace')}"
        )
    document: dict[str, Any] = json.loads(content)
    return document
