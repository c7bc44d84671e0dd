"""The attribution service: a thread that loads the journal, runs rounds, and publishes how far both have come.

It outlives its stores: a step that fails is logged in one line and tried again, later and later. Loads go on while
rounds fail, and the other way round. While another process holds the lease (lease.py) it does nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from attribution.fence import FencedWarehouse, fenced
from attribution.journal_streams import is_out_of_memory
from attribution.lease import Lease
from attribution.ledger import News, Round, run_round
from attribution.loader import Load, Loader
from attribution.publication import Publication
from attribution.rebuild import is_directory_lost, mark_complete, rebuild_redis
from attribution.staging import QUERIES
from attribution.warehouse import Warehouse
from tracker import redis_keys
from tracker.errors import LasttouchError, Unavailable
from tracker.events import Clicked
from tracker.program import Program
from tracker.settings import Settings

POLL_SECONDS = 0.05  # how long something new may wait when all is idle
LOAD_SECONDS = 0.5  # from one load to the next, so that ClickHouse's parts stay few
LOADS_PER_ROUND = 8  # in a row, while the journal holds more than one load takes
LOADS_WITHOUT_ROUND = 20  # at most, so that a start never has to look at many
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0
STOP_SECONDS = 30.0  # for the step under way to finish
REDIS_TIMEOUT_SECONDS = 30.0

log = logging.getLogger(__name__)


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Retries:
    """When a step that fails is tried again: after 0.2 s, then twice as long each time, up to 10 s."""

    what: str
    failures: int = 0
    not_before: float = 0.0
    last_error: str | None = None

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.not_before

    def succeeded(self) -> None:
        if self.failures:
            log.info("%s works again", self.what)
        self.failures, self.last_error, self.not_before = 0, None, 0.0

    def failed(self, error: Exception) -> None:
        pause = min(FIRST_RETRY_SECONDS * 2**self.failures, LAST_RETRY_SECONDS)
        self.failures += 1
        self.not_before = time.monotonic() + pause
        known = isinstance(error, LasttouchError | redis.RedisError)
        self.last_error = str(error) if known else f"{type(error).__name__}: {error}"
        level = logging.WARNING if isinstance(error, Unavailable | redis.RedisError) else logging.ERROR
        log.log(level, "%s failed, again in %.1f s: %s", self.what, pause, self.last_error)
        log.debug("the failure", exc_info=error)


class AttributionService:
    """Loader and rounds of one program, at work while this process holds the lease."""

    def __init__(
        self,
        settings: Settings,
        program: Program,
        warehouse: Warehouse,
        lease: Lease,
        now_ms: Callable[[], int] = _clock_ms,
    ) -> None:
        """`warehouse` is migrated. Nothing is connected or started yet."""
        self._redis = redis.Redis.from_url(
            settings.effective_redis_url, socket_timeout=REDIS_TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._program = program
        self._warehouse = warehouse = FencedWarehouse(warehouse, lease.require)
        self._lease = lease
        self._now_ms = now_ms
        self._scripts = scripts = fenced(lease)
        self._loader = Loader(self._redis, warehouse, program, now_ms, scripts)
        self._publication = Publication(self._redis, scripts)
        self._tell_attributed = scripts(self._redis, _TELL_ATTRIBUTED)
        self._loading = Retries("loading")
        self._attributing = Retries("attribution")
        self._attributed = 0
        self._covered_load = -1
        self._news: News | None = None  # of all loads since the last round, where each of them was seen
        self._resets_seen = -1  # of Redis; below the loader's count: the directory is to be looked at
        self._writes_alone = False  # nothing that was begun before is still being written
        self._stopping = threading.Event()
        self._passes = threading.Condition()
        self._begun_passes = 0
        self._idle_pass = 0
        self._thread: threading.Thread | None = None

        self.is_prepared = False
        """Whether the stores were reached and the directory is there."""
        self.rounds = 0
        self.last_load: Load | None = None
        self.last_round: Round | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the service runs, has its stores and the lease, and loads without failing."""
        is_running = self._thread is not None and self._thread.is_alive()
        return is_running and self.is_prepared and self._lease.is_held and self._loading.failures == 0

    @property
    def last_error(self) -> str | None:
        """Why the newest try of loading or attribution failed; None when both work."""
        return self._loading.last_error or self._attributing.last_error

    def start(self) -> None:
        """Start the thread. It waits for its stores by itself."""
        if self._thread is not None:
            raise RuntimeError("the service was started before")
        self._thread = threading.Thread(target=self._run, name="attribution", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Finish the step under way, and stop. What waits stays in the journal. False where the step takes longer than
        STOP_SECONDS: it goes on; this may be called again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                return False
        self._redis.close()
        return True

    def wait_idle(self, timeout: float) -> bool:
        """Wait until a look that begins from now on finds nothing to load and nothing to attribute."""
        with self._passes:
            wanted = self._begun_passes + 1
            return self._passes.wait_for(lambda: self._idle_pass >= wanted, timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._passes:
                self._begun_passes += 1
            if not self._lease.is_held:
                self._stand_by()
                continue
            began = time.monotonic()
            loaded = self._try(self._loading, self._load) if self._loading.is_due else None
            attributed = self._try(self._attributing, self._attribute) if self._attributing.is_due else None
            is_idle = loaded is False and attributed is False
            if is_idle:
                with self._passes:
                    self._idle_pass = self._begun_passes
                    self._passes.notify_all()
            is_behind = loaded is True and self.last_load is not None and self.last_load.has_more
            pause = 0.0 if is_behind else LOAD_SECONDS if loaded else POLL_SECONDS
            self._stopping.wait(max(0.0, began + pause - time.monotonic()))

    def _stand_by(self) -> None:
        """It is another process's turn, or Redis does not say whose. When it is this one's, all is looked at anew."""
        self._loader.forget()
        self._news, self._covered_load = None, -1
        self._writes_alone = False
        self._stopping.wait(POLL_SECONDS)

    def _try(self, retries: Retries, step: Callable[[], bool]) -> bool | None:
        """A step's answer, whether it did anything; None when it failed."""
        try:
            if not self._writes_alone:
                self._warehouse.end_leftovers()
                self._writes_alone = True
            did = step()
        except Exception as error:  # whatever it was, the next try may fare better, and without this thread all stands
            self._writes_alone = False
            retries.failed(error)
            return None
        retries.succeeded()
        return did

    def _load(self) -> bool:
        """Load what waits, several loads while the journal holds more than one takes."""
        self._loader.recover()
        self._look_after_redis()
        for number in range(LOADS_PER_ROUND):
            load = self._loader.load_once()
            if load is None:
                return number > 0
            self.last_load = load
            self._hear(load)
            if not load.has_more or self._stopping.is_set() or not self._lease.is_held:
                break
        return True

    def _look_after_redis(self) -> None:
        """At the start, and when Redis was reset: rebuild a lost directory, and publish what rounds cover."""
        if self._resets_seen == self._loader.resets:
            return
        resets = self._loader.resets
        if is_directory_lost(self._redis, self._warehouse):
            log.warning("Redis does not say that its directory is complete: rebuilding it from ClickHouse")
            rebuild_redis(self._redis, self._warehouse, self._program, self._now_ms(), log.info, self._scripts)
        is_new = not self._warehouse.rows(QUERIES["rebuild_has_partners"])
        covered = int(self._warehouse.rows(QUERIES["service_covered"])[0]["facts"])
        published = int(self._redis.hget(redis_keys.PROGRESS, "attributed") or 0)
        try:
            if is_new:
                mark_complete(self._redis, scripts=self._scripts)
            # What was published may be more than the rounds say: loads without anything new need no round.
            self._publish_attributed(max(covered, published if published <= self._loader.total else 0))
        except redis.ResponseError as error:
            # A Redis without room for this gets room by loading; the next round publishes it, and the next start marks.
            if not is_out_of_memory(error):
                raise
        self._news, self._covered_load = None, -1  # the next look tells readers anew what is settled
        self._resets_seen = resets
        self.is_prepared = True

    def _hear(self, load: Load) -> None:
        """Add what a load brought to the news; a load that was not seen leaves them unknown until the next round."""
        news, self._news = self._news, None
        if news is not None and load.load_id == news.through_load + 1:
            self._news = replace(news, through_load=load.load_id, stored=Counter(news.stored) + Counter(load.by_type))

    def _attribute(self) -> bool:
        """Bring the results up to the newest load, by a round unless its facts change none of them."""
        newest, covers = self._loader.finished_load, self._loader.total
        if not self.is_prepared or not self._lease.is_held or newest == self._covered_load:
            return False
        news, self._news = self._news, None  # they come back when nothing fails
        if news is None or news.through_load != newest:
            self._news = self._run_round(None)
        else:
            news = self._without_idle_clicks(news)
            waiting = sum(news.counts.values())
            self._publish_attributed(covers - waiting)  # of all else the results are complete before the round
            loads = news.through_load - news.after.through_load
            self._news = self._run_round(news) if waiting or loads > LOADS_WITHOUT_ROUND else news
        self._publish_attributed(covers)
        self._covered_load = newest
        return True

    def _run_round(self, news: News | None) -> News | None:
        """Run a round. What is to be added to from now on; None where the next round has to look for itself."""
        done = run_round(self._warehouse, self._program, self._now_ms(), news, self._publication)
        if done is None:
            return None
        self.rounds += 1
        self.last_round = done
        return News(done, done.through_load, {})

    def _without_idle_clicks(self, news: News) -> News:
        """The news without clicks of visitors who had not signed up or joined: nobody's binding, and so nobody's money,
        depends on these yet. The reports read clicks themselves."""
        if not news.counts["clicks"]:
            return news
        span = {"after_load": self._covered_load, "through_load": news.through_load}
        deciding = self._warehouse.rows(QUERIES["service_clicks_decide"], **span)[0]["clicks"]
        return replace(news, stored={**news.stored, Clicked.type: deciding})

    def _publish_attributed(self, facts: int) -> None:
        self._attributed = max(self._attributed, facts)
        self._tell_attributed(keys=[redis_keys.PROGRESS], args=[str(self._attributed)])


# KEYS: the hash of progress. ARGV: how many accepted facts are in the results.
_TELL_ATTRIBUTED = "redis.call('HSET', KEYS[1], 'attributed', ARGV[1])"
