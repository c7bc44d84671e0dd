"""The directory in Redis: partners, links, licenses, payments and which facts are known.

Changes are optimistic transactions: what a decision was based on is read first and expected to hold still when its
step is committed together with the fact's journal row (`accept.lua`). What no longer holds is read and decided again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tracker import redis_keys
from tracker.attribution_now import Touch, read_touches
from tracker.delivery import Delivery
from tracker.errors import Unavailable
from tracker.journal_bound import DEFAULT_BOUND, JOURNAL_IS_FULL, RETRY_AFTER_SECONDS, JournalBound, is_full_refusal

Key = tuple[str, str]
"""A directory entry: Redis hash and field."""

KIND_OF = {hash_key: kind for kind, hash_key in redis_keys.KEPT.items()}
"""Redis hash → kind of directory entry, of the state that ClickHouse keeps."""

LOST = "LOST"
"""What the error of accept.lua begins with where Redis lost the directory."""

UNDELIVERED = "UNDELIVERED"
"""What it begins with where too many deliveries wait."""

MOST_DELIVERIES_WAITING = 100_000
TOO_MANY_DELIVERIES = "LiveChat's own system has not taken what it was told for long; nothing more can be promised now."
DIRECTORY_IS_LOST = "Redis was emptied, and attribution is putting the directory back from ClickHouse; try again."

_ACCEPT = (Path(__file__).parent / "accept.lua").read_text(encoding="utf-8")


@dataclass(slots=True)
class Known:
    """What was read of the directory, and what earlier steps of the same batch will have written."""

    entries: dict[Key, str | None] = field(default_factory=dict)
    touches: dict[str, list[Touch]] = field(default_factory=dict)

    def get(self, hash_key: str, name: str) -> str | None:
        return self.entries[hash_key, name]


@dataclass(frozen=True, slots=True)
class Step:
    """Facts, or a change of state that is none, and its directory changes, to be committed as one.

    Writing None removes an entry. `entries` are those of `write` that ClickHouse is to keep although no fact tells
    them; see state.py.
    """

    rows: tuple[str, ...]
    """The facts that become true with it (`fact_row`)."""
    expect: Mapping[Key, str | None]
    write: Mapping[Key, str | None]
    changes: tuple[tuple[str, str], ...] = ()
    client: tuple[str, str] | None = None
    entries: tuple[Key, ...] = ()
    records: tuple[str, ...] = ()
    """Keys of the records that the client's lines hold (redis_keys.CLIENT_ENTRIES)."""
    deliveries: tuple[Delivery, ...] = ()
    """What others are to be told of it."""

    def document(self) -> dict[str, Any]:
        """The step as accept.lua reads it."""
        return {
            "rows": self.rows,
            "expect": [[*key, False if value is None else value] for key, value in self.expect.items()],
            "write": [[*key, False if value is None else value] for key, value in self.write.items()],
            "entries": [[KIND_OF[key[0]], key[1], self.write[key] or ""] for key in self.entries],
            "changes": list(self.changes),
            "client": self.client or False,
            "records": list(self.records),
            "deliveries": [
                [one.id, one.text(), one.lane, redis_keys.delivery_lane(one.channel, one.lane),
                 redis_keys.delivery_lanes(one.channel), one.ordered_at, one.channel]
                for one in self.deliveries
            ],
        }  # fmt: skip


class Directory:
    """Reads and commits. Raises redis.RedisError when Redis does not answer."""

    def __init__(
        self,
        redis: Redis,
        bound: JournalBound = DEFAULT_BOUND,
        was_complete: Callable[[], bool] = lambda: False,
    ) -> None:
        """`was_complete` says whether this process has seen the directory complete (redis_keys.COMPLETE): when it is
        not any more, Redis has lost it, and nothing is decided until attribution has put it back."""
        self._redis = redis
        self._bound = bound
        self._was_complete = was_complete
        self._accept = redis.register_script(_ACCEPT)

    async def read(self, known: Known, keys: Iterable[Key], visitor_ids: Iterable[str] = ()) -> None:
        """Add entries and visitors' touches to what is known, in one round trip."""
        wanted = sorted(set(keys) - known.entries.keys())
        visitors = sorted(set(visitor_ids) - known.touches.keys())
        if not wanted and not visitors:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for hash_key, name in wanted:
                pipe.hget(hash_key, name)
            for visitor_id in visitors:
                pipe.get(redis_keys.touches(visitor_id))
            answers: list[bytes | None] = await pipe.execute()
        for key, value in zip(wanted, answers, strict=False):
            known.entries[key] = None if value is None else value.decode()
        for visitor_id, value in zip(visitors, answers[len(wanted) :], strict=True):
            known.touches[visitor_id] = read_touches(value)

    async def commit(self, steps: Sequence[Step]) -> list[bool]:
        """Commit steps in order, durable in Redis when this returns. False: something it expected has changed.

        Raises Unavailable, and commits none, when the journal has no room for so many, or Redis lost the directory.
        """
        if not steps:
            return []
        document = json.dumps([step.document() for step in steps], ensure_ascii=False)
        try:
            answers: list[int] = await self._accept(
                keys=[
                    redis_keys.FACT_JOURNAL, redis_keys.FACT_COUNTS, redis_keys.CHANGES, redis_keys.COMPLETE,
                    redis_keys.CLIENT_ENTRIES, redis_keys.DELIVERIES, redis_keys.DELIVERIES_BY_TIME,
                    redis_keys.DELIVERIES_DONE, redis_keys.DELIVERIES_WAITING,
                ],
                args=[document, self._bound.facts, int(self._was_complete()), MOST_DELIVERIES_WAITING],
            )  # fmt: skip
        except ResponseError as error:
            if is_full_refusal(error):
                raise Unavailable(JOURNAL_IS_FULL, RETRY_AFTER_SECONDS) from error
            if str(error).startswith(UNDELIVERED):
                raise Unavailable(TOO_MANY_DELIVERIES, RETRY_AFTER_SECONDS) from error
            if str(error).startswith(LOST):
                raise Unavailable(DIRECTORY_IS_LOST) from error
            raise
        return [answer == 1 for answer in answers]

    async def require(self) -> None:
        """Raise Unavailable where Redis lost the directory: then what it does not know may exist all the same."""
        if self._was_complete() and not await self._redis.exists(redis_keys.COMPLETE):
            raise Unavailable(DIRECTORY_IS_LOST)
