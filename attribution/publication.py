"""The mark in Redis by which readers know that bindings and ledger are of one round.

It is away from just before a round is published until what the round decided is current, and says which round that is,
with a word that no other publishing had: who finds the same mark before and after reading has read one round. A process
that dies in between leaves none, and readers then ask ClickHouse (reports/whole_rounds.py).
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

import redis

from attribution.journal_streams import is_out_of_memory
from tracker import redis_keys

SETTLED = "settled"

log = logging.getLogger(__name__)


class Publication:
    """Takes the mark away and sets it again. Raises redis.RedisError: nothing is published that could not be told.

    `require` raises where it is not this process's turn (lease.py): who was stopped must not say that all is whole
    while another process publishes the next round.
    """

    def __init__(self, client: redis.Redis, require: Callable[[], None] = lambda: None) -> None:
        self._redis = client
        self._require = require

    def begins(self) -> None:
        """What readers see is about to change. Redis does this without room, too."""
        self._redis.hdel(redis_keys.PROGRESS, SETTLED)

    def ends(self, round: int) -> None:
        """What readers see is of `round`, whole. A Redis without room for the mark leaves readers to ask ClickHouse."""
        self._require()
        try:
            self._redis.hset(redis_keys.PROGRESS, SETTLED, f"{round} {secrets.token_hex(8)}")
        except redis.ResponseError as error:
            if not is_out_of_memory(error):
                raise
            log.debug("that round %d is settled is not told: %s", round, error)
