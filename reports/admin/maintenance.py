"""Admin calls that look at all stores or change them: audit, rebuild, and putting quarantined pieces back.

`lasttouch audit`, `rebuild` and `quarantine` use them while the server runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from redis import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from attribution.audit import Audit, audit
from attribution.client_stores import ClientStores
from attribution.quarantine import Quarantine
from attribution.warehouse import Warehouse
from reports.access import Viewer
from reports.filters import one_of, read_query
from reports.room import Room
from tracker.api import MAX_BODY_BYTES, read_limited
from tracker.bodies import parse_json
from tracker.errors import Conflict, Invalid
from tracker.program import Program
from tracker.settings import Settings

MAX_IDS = 1000
TIMEOUT_SECONDS = 30.0


async def run_audit(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /v2/admin/audit`. It reads the whole history, so one runs at a time; others wait."""
    replays = one_of("replay", read_query(request, ("replay",))["replay"], ("false", "true")) == "true"

    def work() -> Audit:
        with redis_client(room.settings) as client:
            return audit(room.warehouse, room.program, client, replays)

    return JSONResponse(audit_document(await room.alone(work)))


def audit_document(result: Audit) -> dict[str, Any]:
    """An audit as JSON shows it."""
    return {"is_clean": result.is_clean, **asdict(result)}


async def run_rebuild(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /v2/admin/rebuild` → `{"steps": [text, …]}`. Conflict where attribution runs in another process."""
    if room.attribution is None:
        raise Conflict("attribution runs in another process; stop it and call `lasttouch rebuild`")
    return JSONResponse({"steps": await room.attribution.rebuild()})


async def run_replay(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /v2/admin/quarantine/replay` with `{"ids": [text, …]}` → `{"replayed": [text, …]}`."""
    ids = parse_json(await read_limited(request, MAX_BODY_BYTES)).get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_IDS or not all(isinstance(one, str) for one in ids):
        raise Invalid.fields([{"field": "ids", "message": f"must be a list of at most {MAX_IDS} quarantine ids"}])
    replayed = await asyncio.to_thread(replay, room.settings, room.program, room.warehouse, ids)
    return JSONResponse({"replayed": replayed})


def replay(settings: Settings, program: Program, warehouse: Warehouse, ids: list[str]) -> list[str]:
    """Put quarantined pieces back into the journal; the ids of those that were there. Raises Unavailable."""
    with redis_client(settings) as client:
        return Quarantine(ClientStores(warehouse, program.data_centers)).replay(client, ids)


@contextmanager
def redis_client(settings: Settings) -> Iterator[Redis]:
    """A client that gives bytes, for the length of a `with`."""
    client = Redis.from_url(settings.effective_redis_url, socket_timeout=TIMEOUT_SECONDS)
    try:
        yield client
    finally:
        client.close()
