"""What others are to be told: webhooks for LiveChat's own system, and e-mails. Ordered in the step that it tells of.

A delivery waits in Redis until it is taken, and holds nothing personal: clients' names and addresses are read from
their data center's store when it is made. The deliveries of a lane are made one after the other, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracker.ids import new_time_ordered_id

PROVISIONING, MAIL = "provisioning", "mail"
CHANNELS = (PROVISIONING, MAIL)

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
STATUSES = (WAITING, DELIVERED, FAILED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `outcome` is an HTTP status, an answer of the mail server, or what went wrong; never an address."""

    at: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """Times are in ms. `type` says what happened, such as `license.created`; `data` what is to be told of it."""

    id: str
    channel: str
    lane: str
    type: str
    ordered_at: int
    data: Mapping[str, Any]
    status: str = WAITING
    attempts: int = 0
    last_attempts: tuple[Attempt, ...] = field(default=())
    next_at: int | None = None
    settled_at: int | None = None

    def text(self) -> str:
        """The delivery as Redis has it."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


def order(channel: str, lane: str, kind: str, now_ms: int, data: Mapping[str, Any]) -> Delivery:
    """A new delivery."""
    return Delivery(f"msg_{new_time_ordered_id(now_ms)}", channel, lane, kind, now_ms, data)


def read_delivery(text: bytes | str) -> Delivery:
    """The delivery that Redis has."""
    document = json.loads(text)
    attempts = tuple(Attempt(**one) for one in document.pop("last_attempts"))
    return Delivery(**document, last_attempts=attempts)
