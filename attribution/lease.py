"""The lease on attribution: of all processes that could load one journal and run rounds, one at a time does.

It is a key in Redis that says who holds it and goes by itself unless it is renewed, which a thread of its own does, for
a round may take long. Who does not hold it waits. A holder that dies is followed after LEASE_SECONDS; one that ends, at
once. With an embedded ClickHouse a name stands for the data folder, which has one process only, so that who opens the
folder again is the holder and waits for nobody.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tracker import redis_keys
from tracker.errors import Conflict, Unavailable
from tracker.ids import new_time_ordered_id
from tracker.settings import Settings

LEASE_SECONDS = 10.0  # without a sign of life; what a step may take does not matter
RENEW_SECONDS = 2.0
TAKE_SECONDS = 0.2  # from one look to the next while somebody else holds it, or Redis is away
REDIS_TIMEOUT_SECONDS = 5.0

log = logging.getLogger(__name__)


def passed_s() -> float:
    """Seconds since some moment, with those in which the machine was suspended. `time.monotonic` leaves these out, and
    Redis does not: by it a lease would seem to hold for up to LEASE_SECONDS after it is gone."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.clock_gettime(time.CLOCK_MONOTONIC)  # goes on in suspend on macOS


class LeaseLost(Unavailable):
    """It is not this process's turn any more: what it was doing is left to who does it now."""


class Lease:
    """One process's claim. `start` it, ask `is_held` before every step, and `release` it in the end.

    What writes asks `require` before every write as well (fence.py), for a process may be stopped inside a step.
    """

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected yet."""
        self._redis = redis.Redis.from_url(
            settings.effective_redis_url, socket_timeout=REDIS_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)
        self.name = _name(settings)
        """What Redis calls the holder where it is this process."""
        self._held_until_s = 0.0
        self._stopping = threading.Event()
        self._looked = threading.Event()
        self._thread: threading.Thread | None = None
        self.holder: str | None = None
        """Who else holds it, as last seen; None when nobody else does, or Redis does not say."""
        self.last_error: str | None = None
        """Why the newest look failed; None when it did not."""

    @property
    def is_held(self) -> bool:
        """Whether it is this process's turn. Taken strictly: by the clock of before it was renewed."""
        return passed_s() < self._held_until_s

    def require(self) -> None:
        """Raise LeaseLost where it is not this process's turn any more."""
        if not self.is_held:
            raise LeaseLost("the lease on attribution is gone; another process may be at work by now")

    def start(self) -> None:
        """Claim it from now on."""
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Claim it no more; the next one may begin at once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(REDIS_TIMEOUT_SECONDS + RENEW_SECONDS)
        self._held_until_s = 0.0
        with suppress(redis.RedisError):
            self._give_back(keys=[redis_keys.ATTRIBUTION], args=[self.name])
        self._redis.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the length of the context. Raises Conflict when somebody else does, Unavailable without Redis."""
        self.start()
        try:
            if not self._looked.wait(REDIS_TIMEOUT_SECONDS):
                raise Unavailable(self.last_error or "Redis does not answer")
            if not self.is_held:
                raise Conflict(f"{self.holder} is at work on this program: end it first")
            yield
        finally:
            self.release()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._renew()
            self._stopping.wait(RENEW_SECONDS if self.is_held and self.holder is None else TAKE_SECONDS)

    def _renew(self) -> None:
        asked_s = passed_s()
        try:
            other = self._take(keys=[redis_keys.ATTRIBUTION], args=[self.name, int(1000 * LEASE_SECONDS)])
        except redis.RedisError as error:
            self.last_error = f"the lease is not renewed: {error}"
            log.debug(self.last_error)
            return
        self.last_error = None
        before, self.holder = self.holder, other.decode(errors="replace") if other else None
        if self.holder is None:
            self._held_until_s = asked_s + LEASE_SECONDS
            if before is not None:
                log.info("attribution begins here: %s has ended", before)
        else:
            self._held_until_s = 0.0
            if before != self.holder:
                log.warning("attribution waits: %s is at work on this program, and only one may be", self.holder)
        self._looked.set()


def _name(settings: Settings) -> str:
    host = socket.gethostname()
    if settings.clickhouse_is_embedded:
        return f"{host} {settings.effective_clickhouse_url}"
    return f"{host} process {os.getpid()} {new_time_ordered_id(time.time_ns() // 1_000_000)}"


# KEYS: the lease. ARGV: the own name, and for how many milliseconds. Who else holds it, or nothing. A Redis without
# memory cannot be told, and gets room only when somebody loads what waits.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return holder
end
if redis.call('PEXPIRE', KEYS[1], ARGV[2]) == 0 then
  local set = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  if set.err and not string.find(set.err, 'OOM', 1, true) then
    return set
  end
end
return false
"""

# KEYS: the lease. ARGV: the own name.
_GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""
