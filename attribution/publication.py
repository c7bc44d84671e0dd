"""The mark in Redis by which readers know that bindings and ledger are of one round.

It is away from just before a round is published until what the round decided is current, and says which round that is,
with a word that no other publishing had: who finds the same mark before and after reading has read one round. A process
that dies in between leaves none, and readers then ask ClickHouse (reports/whole_rounds.py).
"""

from __future__ import annotations

import logging
import secrets

import redis

from attribution.fence import Scripts, unfenced
from attribution.journal_streams import is_out_of_memory
from tracker import redis_keys

SETTLED = "settled"

log = logging.getLogger(__name__)


class Publication:
    """Takes the mark away and sets it again. Raises redis.RedisError: nothing is published that could not be told.

    `scripts` may be fenced: who was stopped must not say that all is whole while another process publishes the next
    round (fence.py).
    """

    def __init__(self, client: redis.Redis, scripts: Scripts = unfenced) -> None:
        self._begin = scripts(client, _BEGIN)
        self._end = scripts(client, _END)

    def begins(self) -> None:
        """What readers see is about to change. Redis does this without room, too."""
        self._begin(keys=[redis_keys.PROGRESS], args=[SETTLED])

    def ends(self, round: int) -> None:
        """What readers see is of `round`, whole. A Redis without room for the mark leaves readers to ask ClickHouse."""
        try:
            self._end(keys=[redis_keys.PROGRESS], args=[SETTLED, f"{round} {secrets.token_hex(8)}"])
        except redis.ResponseError as error:
            if not is_out_of_memory(error):
                raise
            log.debug("that round %d is settled is not told: %s", round, error)


# KEYS: the hash of progress. ARGV: the mark's field.
_BEGIN = "redis.call('HDEL', KEYS[1], ARGV[1])"

# KEYS: the hash of progress. ARGV: the mark's field, and what it says.
_END = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
