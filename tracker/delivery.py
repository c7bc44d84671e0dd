"""What others are to be told: webhooks for LiveChat's own system, and e-mails. Ordered in the step that it tells of.

A delivery waits in Redis until it is taken, and holds nothing personal: clients' names and addresses are read from
their data center's store when it is made. The deliveries of a lane are made one after the other, in their order, which
is that of their ids. That one was ordered, and what became of it, is in ClickHouse too (directory entries of KIND), so
that one that waits outlives Redis.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tracker.ids import time_ordered_id_of

PROVISIONING, MAIL = "provisioning", "mail"
CHANNELS = (PROVISIONING, MAIL)

WAITING, DELIVERED, FAILED, NOT_SENT = "waiting", "delivered", "failed", "not_sent"
STATUSES = (WAITING, DELIVERED, FAILED, NOT_SENT)
"""NOT_SENT: there was nobody to send it to."""

KIND = "delivery"
"""Of the directory entries (`directory_entries`) that tell of deliveries."""

MOST_IN_MS = 0xFFF  # ids of a millisecond that are told apart by a count
DONE_KEPT = 10_000  # in Redis; ClickHouse has all

INTO_LANE = """
local function into_lane(lane, id)
  for _, other in ipairs(redis.call('LRANGE', lane, 0, -1)) do
    if other > id then
      redis.call('LINSERT', lane, 'BEFORE', other, id)
      return
    end
  end
  redis.call('RPUSH', lane, id)
end
"""
"""Lua: puts a delivery where it belongs in its lane, whatever was ordered meanwhile; ids go by time."""


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
    return Delivery(_IDS.next(now_ms), channel, lane, kind, now_ms, data)


class OrderedIds:
    """Makes ids that are greater as texts the later they were made, those of one millisecond too (RFC 9562, 6.2)."""

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._ms = 0
        self._count = 0

    def next(self, now_ms: int) -> str:
        """A new id, such as `msg_0197…`. A clock that goes back is not followed."""
        is_later = now_ms > self._ms
        self._ms = max(self._ms, now_ms)
        self._count = 0 if is_later else self._count + 1
        if self._count > MOST_IN_MS:
            self._ms, self._count = self._ms + 1, 0
        return f"msg_{time_ordered_id_of(self._ms, f'0{self._count:03x}{self._random_bytes(8).hex()}')}"


_IDS = OrderedIds()


def read_delivery(text: bytes | str) -> Delivery:
    """The delivery that Redis has."""
    document = json.loads(text)
    attempts = tuple(Attempt(**one) for one in document.pop("last_attempts"))
    return Delivery(**document, last_attempts=attempts)
