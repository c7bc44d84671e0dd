"""The operations tagged Status and Account: a partner's profile, money and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.partner_api.asked import Asked, Handler
from reports.room import Room


async def status(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    """Nothing to say but that the API is up."""
    return None


OPERATIONS: Mapping[str, Handler] = {
    "get_status": status,
}
"""Operation id → handler."""
