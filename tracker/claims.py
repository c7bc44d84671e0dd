"""Claims: a stamp makes one browser its visitor on each site, and no second one, so that a copied URL does not make
two people one visitor."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.visitors import STAMP_HOURS

# While Redis does not answer a stamp is believed: most are not copies.
CLAIM_SECONDS = 0.5
log = logging.getLogger(__name__)


class Claims:
    """Who was first with a stamp. Kept in Redis for as long as a stamp can live."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def claim(self, stamp: str, visitor_id: str, host: str, claimant: str) -> bool:
        """Whether a browser may be the visitor of a genuine stamp on a site: it is the first there, or asks again.

        `claimant` is the visitor id that it falls back to, which no other browser has.
        """
        key = redis_keys.stamp_claim(visitor_id, stamp, host)
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                if await self._redis.set(key, claimant, nx=True, ex=STAMP_HOURS * 3600):
                    return True
                return cast("bytes | None", await self._redis.get(key)) == claimant.encode()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("a stamp is believed unclaimed: %s", error or type(error).__name__)
            return True
