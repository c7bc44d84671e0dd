"""A warehouse, and scripts of Redis, that write nothing once their process's lease is gone.

A process that was stopped for longer than a lease lives, by the machine or by somebody, wakes in the middle of a load
or a round that another process has done meanwhile. Every statement that writes asks first whether it is still this
process's turn; by a clock that goes on while the machine is suspended, so that who was stopped knows as soon as it
wakes. What ClickHouse was already told goes on: it was told in time.

Redis can look itself who holds the lease, in the same step as it writes. By such scripts is written what a stopped
process could spoil: how far loads and rounds have come (an older count would stay until the next load, and withdrawals
wait for it), which round is whole (half of another one would be shown), what a rebuild puts back (a token that was
revoked meanwhile would work again), and that the directory is complete (trackers would forget what they alone know).

Not fenced is what does no harm however late it comes: trimming the journal up to the end of a finished load, for ids of
its entries only grow; raising the counts of accepted facts to what is known; merging touches, which are clicks that
happened; removing tokens that were revoked; having trackers read an entry again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from attribution.lease import Lease, LeaseLost
from attribution.warehouse import Warehouse
from tracker import redis_keys

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
    """`warehouse`, in which each write calls `require` first, and does not happen where that raises; siblings' too."""

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
        self._inner.run(query, **parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._require()
        self._inner.insert(table, columns, rows)

    def insert_bytes(self, table: str, columns: Sequence[str], data: bytes, format: str) -> None:
        self._require()
        self._inner.insert_bytes(table, columns, data, format)

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
