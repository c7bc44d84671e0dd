"""Claims: a stamp makes one browser its visitor on each site, and no second one, so that a copied URL does not make
two people one visitor. And of two ids that a browser has, the one that was touched last is its visitor's (R2)."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.visitors import STAMP_HOURS, is_of_link

# While Redis does not answer a stamp is believed: most are not copies.
CLAIM_SECONDS = 0.5
log = logging.getLogger(__name__)


class Claims:
    """Who was first with a stamp. Kept in Redis for as long as a stamp can live."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def claim(self, stamp: str, visitor_id: str, host: str, claimant: str) -> str | None:
        """The visitor of a browser that lands on a site with a genuine stamp. None where another browser was first.

        `claimant` is the id that the browser has on this site, or a new one, which no other browser has.
        """
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                if not await self._is_first(redis_keys.stamp_claim(visitor_id, stamp, host), claimant):
                    return None
                return await self._touched_last(visitor_id, claimant) if is_of_link(stamp) else visitor_id
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("a stamp is believed unclaimed: %s", error or type(error).__name__)
            return visitor_id

    async def _is_first(self, key: str, claimant: str) -> bool:
        """Whether nobody claimed it before, but the claimant."""
        if await self._redis.set(key, claimant, nx=True, ex=STAMP_HOURS * 3600):
            return True
        return cast("bytes | None", await self._redis.get(key)) == claimant.encode()

    async def _touched_last(self, travelling: str, settled: str) -> str:
        """Which of two ids has the newest touch; touches begin with their time, newest first."""
        there, here = [
            cast("bytes", await self._redis.get(redis_keys.touches(one)) or b"") for one in (travelling, settled)
        ]
        return settled if here > there else travelling
