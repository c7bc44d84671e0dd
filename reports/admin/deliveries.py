"""The log of what others are told: webhooks and e-mails. It holds no names and no addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports.access import Viewer
from reports.delivery_log import MAX_PAGE, DeliveryLog, is_one_of
from reports.filters import one_of, read_query
from reports.paging import After, cut_page, read_cursor, read_limit
from reports.periods import LATEST_MS
from reports.room import Room
from tracker import redis_keys
from tracker.api import MAX_BODY_BYTES, read_limited
from tracker.bodies import parse_json
from tracker.delivery import (
    CHANNELS,
    DONE_KEPT,
    FAILED,
    KIND,
    NOT_SENT,
    PROVISIONING,
    STATUSES,
    Delivery,
    read_delivery,
)
from tracker.directory import MOST_DELIVERIES_WAITING
from tracker.errors import Conflict, Invalid, NotFound
from tracker.rfc3339 import rfc3339

MAX_ROWS = MAX_PAGE
MOST_RESENT = 10_000  # in one call


@dataclass(frozen=True, slots=True)
class DeliveriesPage:
    """Deliveries, newest first. `next_cursor` is None on the last page."""

    deliveries: list[Delivery]
    next_cursor: str | None


async def list_deliveries(room: Room, viewer: Viewer, request: Request) -> Response:
    values = read_query(request, ("status", "channel", "cursor", "limit"))
    page = await deliveries_page(room, read_wanted(values), values["cursor"], read_limit(values["limit"], MAX_ROWS))
    return JSONResponse({"items": list(map(delivery_document, page.deliveries)), "next_cursor": page.next_cursor})


def read_wanted(values: Mapping[str, str]) -> dict[str, str]:
    """The `status` and the `channel` that query values ask for; empty for all. Raises BadRequest."""
    return {
        "status": one_of("status", values["status"], ("", *STATUSES)),
        "channel": one_of("channel", values["channel"], ("", *CHANNELS)),
    }


async def deliveries_page(room: Room, wanted: Mapping[str, str], cursor: str, limit: int) -> DeliveriesPage:
    """A page of all deliveries there ever were. ClickHouse has each that was loaded, and Redis how the newest stand."""
    log, top, most = DeliveryLog(room.redis), read_cursor(cursor), limit + 1
    found = {one.id: one for one in await log.newest((top.moment, top.key), wanted, most)}
    place, loaded = top, 0
    while loaded < most:
        where = {"before_ms": place.moment, "before_id": place.key}
        rows = await room.rows("deliveries_page", kind=KIND, **wanted, **where, most=most)
        stored = sorted((read_delivery(row["value"]) for row in rows), key=_order)
        current = await log.found([one.id for one in stored])
        still = [now for one in stored if is_one_of(wanted, now := current.get(one.id, one))]
        found |= {one.id: one for one in still}
        loaded += len(still)
        if len(stored) < most:
            break
        place = After(stored[0].ordered_at, stored[0].id)
    ordered = sorted(found.values(), key=_order, reverse=True)
    rows = [{"delivery": one, "ordered_at": one.ordered_at, "id": one.id} for one in ordered[:most]]
    page = cut_page(rows, limit, "ordered_at", "id")
    return DeliveriesPage([row["delivery"] for row in page.rows], page.next_cursor)


def _order(delivery: Delivery) -> tuple[int, str]:
    return delivery.ordered_at, delivery.id


async def resend(room: Room, viewer: Viewer, request: Request) -> Response:
    delivery_id = request.path_params["delivery_id"]
    log = DeliveryLog(room.redis)
    found = await log.find(delivery_id)
    if found is None:
        row = await room.row("delivery", kind=KIND, delivery_id=delivery_id)
        if row is None:
            raise NotFound("There is no such delivery.")
        found = read_delivery(row["value"])
    _require_receiver(room, found.channel)
    return JSONResponse(delivery_document(await log.resend(found)), 202)


async def resend_many(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /v2/admin/deliveries/resend`: all of one status, MOST_RESENT at a time."""
    status = parse_json(await read_limited(request, MAX_BODY_BYTES)).get("status")
    if status not in (NOT_SENT, FAILED):
        message = f"must be {NOT_SENT} or {FAILED}"
        raise Invalid.fields([{"field": "status", "message": message}])
    resent, left = await resend_all(room, str(status))
    return JSONResponse({"resent": resent, "left": left})


async def resend_all(room: Room, status: str) -> tuple[int, int]:
    """Make webhooks that were not sent, or were given up, due now, oldest first: how many, and how many are left for
    the next time. Raises Conflict where there is no receiver."""
    _require_receiver(room, PROVISIONING)
    log = DeliveryLog(room.redis)
    rows = await room.rows("deliveries_by_status", kind=KIND, status=status, channel=PROVISIONING, most=MOST_RESENT)
    # ClickHouse has all but the newest, and Redis has these.
    wanted = {"status": status, "channel": PROVISIONING}
    recent = {one.id: one for one in await log.newest((LATEST_MS, ""), wanted, DONE_KEPT)}
    stored = {row["id"]: read_delivery(row["value"]) for row in rows}
    found = sorted((stored | recent).items())[:MOST_RESENT]
    room_left = MOST_DELIVERIES_WAITING - (await log.waiting())[PROVISIONING].deliveries
    resent = 0
    for delivery_id, one in found[: max(0, room_left)]:
        known = await log.find(delivery_id)
        if known is None or known.status == status:  # else somebody else was quicker
            await log.resend(one)
            resent += 1
    total = rows[0]["total"] if rows else 0
    return resent, max(total, len(stored | recent)) - resent


def _require_receiver(room: Room, channel: str) -> None:
    if channel == PROVISIONING and room.settings.provisioning_url is None:
        raise Conflict("No receiver is set: set LASTTOUCH_PROVISIONING_URL first.")


async def settled_counts(room: Room) -> dict[str, int]:
    """Status → how many webhooks ended so, as far as is loaded."""
    rows = await room.rows("deliveries_count", channel=PROVISIONING)
    return {status: 0 for status in STATUSES} | {row["status"]: row["deliveries"] for row in rows}


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
