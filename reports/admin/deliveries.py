"""The log of what others are told: webhooks and e-mails. It holds no names and no addresses."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports.access import Viewer
from reports.deliveries import MAX_PAGE, DeliveryLog
from reports.filters import one_of, read_query
from reports.paging import cut_page, read_cursor, read_limit
from reports.room import Room
from tracker import redis_keys
from tracker.delivery import CHANNELS, STATUSES, Delivery
from tracker.errors import NotFound
from tracker.rfc3339 import rfc3339

MAX_ROWS = MAX_PAGE


async def list_deliveries(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("status", "channel", "cursor", "limit"))
    wanted = {
        "status": one_of("status", values["status"], ("", *STATUSES)),
        "channel": one_of("channel", values["channel"], ("", *CHANNELS)),
    }
    after, limit = read_cursor(values["cursor"]), read_limit(values["limit"], MAX_ROWS)
    found = await DeliveryLog(room.redis).newest((after.moment, after.key), wanted, limit + 1)
    rows = [{"delivery": one, "ordered_at": one.ordered_at, "id": one.id} for one in found]
    page = cut_page(rows, limit, "ordered_at", "id")
    items = [delivery_document(row["delivery"]) for row in page.rows]
    return JSONResponse({"items": items, "next_cursor": page.next_cursor})


async def resend(room: Room, viewer: Viewer, request: Request) -> Response:
    found = await DeliveryLog(room.redis).resend(request.path_params["delivery_id"])
    if found is None:
        raise NotFound("There is no such delivery, or it was made long ago.")
    return JSONResponse(delivery_document(found), 202)


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """A delivery as administrators see it."""
    return {
        "delivery_id": delivery.id,
        "channel": delivery.channel,
        "type": delivery.type,
        "license_id": delivery.data.get("license_id"),
        "organization_id": delivery.data.get("organization_id"),
        "partner_id": delivery.data.get("partner_id"),
        "status": delivery.status,
        "ordered_at": rfc3339(delivery.ordered_at),
        "attempts": delivery.attempts,
        "last_attempts": [{"at": rfc3339(one.at), "outcome": one.outcome} for one in delivery.last_attempts],
        "next_at": rfc3339(delivery.next_at) if delivery.next_at else None,
        "settled_at": rfc3339(delivery.settled_at) if delivery.settled_at else None,
    }


async def provisioning_state(room: Room) -> str:
    """`open` where webhooks are sent, `gone` where their receiver said so (410), `none` where no URL is set."""
    url = room.settings.provisioning_url
    if url is None:
        return "none"
    gone = await cast("Awaitable[bytes | None]", room.redis.get(redis_keys.PROVISIONING_GONE))
    return "gone" if gone is not None and gone.decode() == url else "open"
