"""Admin calls that change stores: rebuild, and putting quarantined pieces back. `lasttouch rebuild` and
`lasttouch quarantine` use them.

They need more than a page does: the process that runs attribution, and a Redis client that may block.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis import Redis
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from attribution.client_stores import ClientStores
from attribution.process import RunningAttribution
from attribution.quarantine import Quarantine
from attribution.warehouse import Warehouse
from reports.access import ADMIN, Viewer, call
from reports.room import Room
from tracker.bodies import parse_json
from tracker.errors import Invalid
from tracker.program import Program
from tracker.settings import Settings

MAX_IDS = 1000
TIMEOUT_SECONDS = 30.0


def maintenance_routes(attribution: RunningAttribution | None) -> list[Route]:
    """The routes; a rebuild only where `attribution` runs in this process."""
    routes = [Route("/v2/admin/quarantine/replay", call(run_replay, ADMIN), methods=["POST"])]
    if attribution:
        routes.append(Route("/v2/admin/rebuild", call(rebuild_with(attribution), ADMIN), methods=["POST"]))
    return routes


def rebuild_with(attribution: RunningAttribution) -> Any:
    """The handler of `POST /v2/admin/rebuild` → `{"steps": [text, …]}`."""

    async def run_rebuild(room: Room, viewer: Viewer, request: Request) -> Response:
        return JSONResponse({"steps": await attribution.rebuild()})

    return run_rebuild


async def run_replay(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /v2/admin/quarantine/replay` with `{"ids": [text, …]}` → `{"replayed": [text, …]}`."""
    ids = parse_json(await request.body()).get("ids")
    if not isinstance(ids, list) or len(ids) > MAX_IDS or not all(isinstance(one, str) for one in ids):
        raise Invalid.fields([{"field": "ids", "message": f"must be a list of at most {MAX_IDS} quarantine ids"}])
    replayed = await asyncio.to_thread(replay, room.settings, room.program, room.warehouse, ids)
    return JSONResponse({"replayed": replayed})


def replay(settings: Settings, program: Program, warehouse: Warehouse, ids: list[str]) -> list[str]:
    """Put quarantined pieces back into the journal; the ids of those that were there. Raises Unavailable."""
    client = Redis.from_url(settings.effective_redis_url, socket_timeout=TIMEOUT_SECONDS)
    try:
        return Quarantine(ClientStores(warehouse, program.data_centers)).replay(client, ids)
    finally:
        client.close()
