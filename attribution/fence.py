"""A warehouse, and scripts of Redis, that write nothing once their process's lease is gone.

A process that was stopped for longer than a lease lives, by the machine or by somebody, wakes in the middle of a load
or a round that another process has done meanwhile. Every statement that writes asks first whether it is still this
process's turn; by a clock that goes on while the machine is suspended, so that who was stopped knows as soon as it
wakes. What ClickHouse was already told goes on, on a server even when the process that told it dies: all of it is
signed, and whoever begins, or begins again after a failure, ends it first. Else both would write.

Redis can look itself who holds the lease, in the same step as it writes. By such scripts is written what a stopped
process could spoil: how far loads and rounds have come (an older count would stay until the next load, and withdrawals
wait for it), which round is whole (half of another one would be shown), what a rebuild puts back (a token that was
revoked meanwhile would work again), and that the directory is complete (trackers would forget what they alone know).

Not fenced is what does no harm however late it comes: trimming the journal up to the end of a finished load, for ids of
its entries only grow; raising the counts of accepted facts to what is known; merging touches, which are clicks that
happened; removing tokens that were revoked; having trackers read an entry again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import redis

from attribution.facts import QUERIES
from attribution.lease import Lease, LeaseLost
from attribution.warehouse import QueryFailed, Warehouse
from tracker import redis_keys

log = logging.getLogger(__name__)

SIGNATURE = "lasttouch attribution"
"""Of what is written through a fence."""

Script = Callable[..., Any]
"""A script of Redis: call it with `keys` and `args`. Raises redis.RedisError."""

Scripts = Callable[[redis.Redis, str], Script]
"""Makes a script of its text."""


def unfenced(client: redis.Redis, text: str) -> Script:
    """A script as it is, for who alone can be at work."""
    return client.register_script(text)


def fenced(lease: Lease) -> Scripts:
    """Makes scripts that raise LeaseLost, and write nothing, where it is not the process's turn.

    By its own clock first, and then by Redis: where the process is stopped after it looked at the clock, another one
    holds the lease there by the time it goes on. All their keys share the lease's slot.
    """

    def make(client: redis.Redis, text: str) -> Script:
        run = client.register_script(_GUARD + text)

        def guarded(keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
            lease.require()
            try:
                return run(keys=[*keys, redis_keys.ATTRIBUTION], args=[*args, lease.name])
            except redis.ResponseError as error:
                if _NOT_HELD in str(error):
                    raise LeaseLost("another process has the lease on attribution by now") from error
                raise

        return guarded

    return make


class FencedWarehouse(Warehouse):
    """`warehouse`, in which each write calls `require` first, and does not happen where that raises; siblings' too.
    ClickHouse knows each by SIGNATURE while it is under way."""

    def __init__(self, warehouse: Warehouse, require: Callable[[], None]) -> None:
        self._inner = warehouse
        self._require = require
        self.database = warehouse.database

    def sibling(self, database: str) -> Warehouse:
        return FencedWarehouse(self._inner.sibling(database), self._require)

    def rows(self, query: str, /, **parameters: object) -> list[dict[str, Any]]:
        return self._inner.rows(query, **parameters)

    def run(self, query: str, /, **parameters: object) -> None:
        self._require()
        with self._inner.signed(SIGNATURE):
            self._inner.run(query, **parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._require()
        with self._inner.signed(SIGNATURE):
            self._inner.insert(table, columns, rows)

    def insert_bytes(self, table: str, columns: Sequence[str], data: bytes, format: str) -> None:
        self._require()
        with self._inner.signed(SIGNATURE):
            self._inner.insert_bytes(table, columns, data, format)

    def end_leftovers(self) -> None:
        """End what an earlier process, or an earlier try of this one, began to write into this database through a
        fence, and wait for its end. A ClickHouse that does not let this user do so is only told of in the log."""
        self._require()
        try:
            under_way = self._inner.rows(QUERIES["fence_leftovers"], signature=SIGNATURE)[0]["statements"]
            if under_way:
                log.warning("ClickHouse still writes what was begun before: ending %d statements", under_way)
                self._inner.run(QUERIES["fence_end_leftovers"], signature=SIGNATURE)
        except QueryFailed as error:
            log.warning(
                "ClickHouse does not say, or end, what it still writes of what was begun before (docs/operating.md,"
                ' "Several machines"): %s', error,
            )  # fmt: skip

    def close(self) -> None:
        self._inner.close()


_NOT_HELD = "NOTHELD"

# KEYS and ARGV: those of the script that follows, then the lease, and the own name in it. The lease may be missing: a
# Redis without memory cannot be told who holds it.
_GUARD = f"""
local lease, own = table.remove(KEYS), table.remove(ARGV)
local holder = redis.call('GET', lease)
if holder and holder ~= own then
  return redis.error_reply('{_NOT_HELD} ' .. holder)
end
"""
