"""Health and metrics of the app, for load balancers and Prometheus. They take no token and show nothing personal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter

import anyio
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attribution.process import WAITING
from reports.delivery_log import DeliveryLog, Waiting
from reports.room import Room, room_of
from tracker.errors import Unavailable
from tracker.pipeline import Pipeline, read_pipeline

CHECK_SECONDS = 5.0


async def live(request: Request) -> Response:
    """`GET /health/live`: the process answers."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    """`GET /health/ready`: 200 when both stores and attribution are there, else 503 that names what is not."""
    room = room_of(request)
    stores = await check_stores(room)
    if room.attribution is not None:
        stores["attribution"] = room.attribution.is_ready
    missing = [name for name, is_there in stores.items() if not is_there]
    if missing:
        waits = room.attribution is not None and room.attribution.is_waiting
        waiting = {"waiting": WAITING} if waits else {}
        return JSONResponse({"status": "not ready", "missing": missing, **waiting}, 503, {"Retry-After": "1"})
    return JSONResponse({"status": "ready"})


async def check_stores(room: Room) -> dict[str, bool]:
    """Which stores answer within five seconds: `redis`, `clickhouse`."""
    found = {"redis": False, "clickhouse": False}
    with anyio.move_on_after(CHECK_SECONDS):
        with suppress(RedisError):
            found["redis"] = bool(await room.redis.ping())
        with suppress(Unavailable):
            found["clickhouse"] = bool(await room.rows("alive"))
    return found


class RequestCounts:
    """ASGI middleware that counts answers by status class and sums the time they took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counts: Counter[str] = scope["app"].state.request_counts
        began = perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                counts[f"{message['status'] // 100}xx"] += 1
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            counts["5xx"] += 1
            raise
        finally:
            scope["app"].state.request_seconds += perf_counter() - began


def room_lines(pipeline: Pipeline) -> list[str]:
    """How much waits in the journal, how much may, and whether that is all in the results, as Prometheus text."""
    journal = pipeline.journal
    clicks = ("clicks", journal.waiting_clicks, journal.limit_clicks)
    facts = ("facts", journal.waiting_facts, journal.limit_facts)
    return [
        "# HELP lasttouch_journal_waiting What waits in the journal to be loaded: clicks, and other facts.",
        "# TYPE lasttouch_journal_waiting gauge",
        *(f'lasttouch_journal_waiting{{kind="{kind}"}} {waiting}' for kind, waiting, _ in (clicks, facts)),
        "# HELP lasttouch_journal_limit How much may wait in the journal.",
        "# TYPE lasttouch_journal_limit gauge",
        *(f'lasttouch_journal_limit{{kind="{kind}"}} {limit}' for kind, _, limit in (clicks, facts)),
        "# HELP lasttouch_journal_full Whether clicks go to the disk because so many wait.",
        "# TYPE lasttouch_journal_full gauge",
        f"lasttouch_journal_full {int(journal.full)}",
        "# HELP lasttouch_attributed Whether every accepted fact is in the results.",
        "# TYPE lasttouch_attributed gauge",
        f"lasttouch_attributed {int(pipeline.attributed)}",
    ]


def delivery_lines(waiting: Mapping[str, Waiting], now_ms: int) -> list[str]:
    """What waits to be delivered, and for how long, as Prometheus text."""
    ages = {name: (now_ms - one.oldest_at) / 1000 if one.oldest_at else 0.0 for name, one in waiting.items()}
    return [
        "# HELP lasttouch_deliveries_waiting What LiveChat's own system or the mail server has not taken yet.",
        "# TYPE lasttouch_deliveries_waiting gauge",
        *(f'lasttouch_deliveries_waiting{{channel="{name}"}} {one.deliveries}' for name, one in waiting.items()),
        "# HELP lasttouch_deliveries_oldest_seconds For how long the oldest of them has waited.",
        "# TYPE lasttouch_deliveries_oldest_seconds gauge",
        *(f'lasttouch_deliveries_oldest_seconds{{channel="{name}"}} {max(0.0, age):.1f}' for name, age in ages.items()),
    ]


async def metrics(request: Request) -> Response:
    """`GET /metrics`: Prometheus text."""
    room = room_of(request)
    state = request.app.state
    stores = await check_stores(room)
    lines = [
        "# HELP lasttouch_app_requests_total Answers of the app by status class.",
        "# TYPE lasttouch_app_requests_total counter",
        *(f'lasttouch_app_requests_total{{status="{name}"}} {n}' for name, n in sorted(state.request_counts.items())),
        "# HELP lasttouch_app_request_seconds_total Time spent answering.",
        "# TYPE lasttouch_app_request_seconds_total counter",
        f"lasttouch_app_request_seconds_total {state.request_seconds:.6f}",
        "# HELP lasttouch_rows_remembered_total Statements about partners whose rows were remembered.",
        "# TYPE lasttouch_rows_remembered_total counter",
        f"lasttouch_rows_remembered_total {room.remembered.hits}",
        "# HELP lasttouch_rows_read_total Statements about partners that ClickHouse was asked.",
        "# TYPE lasttouch_rows_read_total counter",
        f"lasttouch_rows_read_total {room.remembered.misses}",
        "# HELP lasttouch_store_up Whether a store answers.",
        "# TYPE lasttouch_store_up gauge",
        *(f'lasttouch_store_up{{store="{name}"}} {int(is_up)}' for name, is_up in stores.items()),
    ]
    if stores["redis"]:
        pipeline = await read_pipeline(room.redis, room.settings)
        lines += ["# HELP lasttouch_facts Facts by where they are.", "# TYPE lasttouch_facts gauge"]
        lines += [f'lasttouch_facts{{at="{name}"}} {value}' for name, value in pipeline.counts.items()]
        lines += room_lines(pipeline)
        lines += delivery_lines(await DeliveryLog(room.redis).waiting(), room.now_ms())
    progress = await room.row("alive") if stores["clickhouse"] else None
    if progress:
        lines += [
            "# HELP lasttouch_ledger_lines_total Ledger lines published.",
            "# TYPE lasttouch_ledger_lines_total counter",
            f"lasttouch_ledger_lines_total {progress['lines']}",
            "# HELP lasttouch_attribution_round The newest published round.",
            "# TYPE lasttouch_attribution_round gauge",
            f"lasttouch_attribution_round {progress['round']}",
        ]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")
