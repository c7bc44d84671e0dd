"""How many calls a partner's token may make: so many in each minute of the clock, counted in Redis for all processes.

The answer says how many are left (RateLimit-Limit, -Remaining, -Reset; RateLimit-Policy has the window in seconds).
Where Redis does not count in time nobody is refused: a limit that fails must not take the API with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.errors import TooMany

WINDOW_SECONDS = 60
COUNT_SECONDS = 0.1  # how long Redis may take to count; a call does not wait longer for its limit
log = logging.getLogger(__name__)


async def count_call(redis: Redis, token_id: int, most: int, now_ms: int) -> Mapping[str, str]:
    """Count a call of a token; the headers that say how many are left. `most` of 0 is no limit.

    Raises TooMany, which carries the same headers, once there were more than `most` in this minute.
    """
    if not most:
        return {}
    window, into_ms = divmod(now_ms, WINDOW_SECONDS * 1000)
    key = redis_keys.token_calls(token_id, window)
    try:
        async with asyncio.timeout(COUNT_SECONDS), redis.pipeline(transaction=False) as pipe:
            pipe.incr(key)
            pipe.expire(key, 2 * WINDOW_SECONDS)
            counted, _ = await pipe.execute()
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("a call was not counted, and is allowed: %s", error or type(error).__name__)
        return {}
    left_seconds = WINDOW_SECONDS - into_ms // 1000
    headers = {
        "RateLimit-Limit": str(most),
        "RateLimit-Remaining": str(max(0, most - counted)),
        "RateLimit-Reset": str(left_seconds),
        "RateLimit-Policy": f"{most};w={WINDOW_SECONDS}",
    }
    if counted > most:
        raise TooMany(f"This token has made {most} calls in this minute; wait for the next.", left_seconds, headers)
    return headers
