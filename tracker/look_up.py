"""Asks Redis for entries that memory does not know, for a visitor who waits.

Group asking: one call is under way at a time, and the ids that are wanted meanwhile go into the next one. So thousands
of unknown ids a second cost tens of calls, whether somebody invents them or a large directory is still being read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

# When more ids than this wait for the next call, further ones are refused unasked.
MOST_WAITING = 1000
# While Redis does not answer, nobody waits for it in vain.
SILENT_SECONDS = 0.25

T = TypeVar("T")
log = logging.getLogger(__name__)


class LookUp(Generic[T]):
    """Looks up fields of one Redis hash. `keep` takes a field and its value, and gives what the asker gets."""

    def __init__(
        self,
        redis: Redis,
        hash_key: str,
        keep: Callable[[str, bytes], T | None],
        seconds: float,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._redis = redis
        self._hash_key = hash_key
        self._keep = keep
        self._seconds = seconds
        self._monotonic_s = monotonic_s
        self._silent_until_s = 0.0
        self._waiting: dict[str, asyncio.Future[T | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, field: str, waited_s: float = 0.0) -> T | None:
        """What Redis has under a field; None where it has nothing or does not answer in time. Never raises.

        `waited_s` of the time is gone already.
        """
        if self._monotonic_s() < self._silent_until_s:
            return None
        answer = self._waiting.get(field)
        if answer is None:
            if len(self._waiting) >= MOST_WAITING:
                return None
            answer = self._waiting[field] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="look up")
        try:
            async with asyncio.timeout(self._seconds - waited_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            return None

    async def _ask(self) -> None:
        """Ask until nobody waits. Whatever happens, everybody gets an answer."""
        batch: dict[str, asyncio.Future[T | None]] = {}
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                async with asyncio.timeout(self._seconds):
                    asked = cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._hash_key, list(batch)))
                    values = await asked
                for (field, answer), value in zip(batch.items(), values, strict=True):
                    answer.set_result(None if value is None else self._keep(field, value))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("a look-up in %s failed: %s", self._hash_key, error or type(error).__name__)
            self._silent_until_s = self._monotonic_s() + SILENT_SECONDS
        finally:
            self._asking = None
            unanswered, self._waiting = [*batch.values(), *self._waiting.values()], {}
            for answer in unanswered:
                if not answer.done():
                    answer.set_result(None)
