"""`lasttouch bench rebuild`: what attribution costs beside the bare SQL that only counts, and how rounds grow.

Facts are made inside an embedded ClickHouse of the benchmark's own: a large program and one with a twentieth of its
facts, with few partners who have most clicks. Both are recomputed from nothing; then the same new facts come to both.
Everything is measured in one run; on a busy machine the processor's seconds say more than the clock's.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribution.audit import audit
from attribution.ledger import DERIVED_TABLES, run_round
from attribution.staging import Staging
from attribution.warehouse import Warehouse, load_queries
from tracker.errors import SettingError
from tracker.program import Program

QUERIES = load_queries(Path(__file__).with_name("rebuild_queries"))
PROGRAM = Program()
START_MS = 1_700_000_000_000
END_MS = START_MS + 500 * 86_400_000

CLICKS_PER_INSERT = 2_000_000
SMALLER = 20
"""The small program has this many times fewer facts than the large one."""
NEW_PAYMENTS = 10_000
NEW_CLICKS = 5_000
MERGE_SECONDS = 600.0
"""How long to wait for merges."""
TURNS = 3
"""Of counting and recomputing."""
REPEATS = 5
"""Rounds of each kind; the median counts."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many facts a program has."""

    clicks: int = 20_000_000
    signups: int = 400_000
    payments: int = 2_000_000
    partners: int = 10_000

    def times(self, factor: float) -> Size:
        """This size, scaled; at least one of everything."""
        return Size(*(max(1, math.ceil(getattr(self, name) * factor)) for name in self.__dataclass_fields__))

    @property
    def parameters(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took."""

    seconds: float
    cpu_seconds: float

    def shown(self) -> dict[str, float]:
        return {"seconds": round(self.seconds, 3), "cpu_seconds": round(self.cpu_seconds, 3)}

    def over(self, other: Cost) -> dict[str, float]:
        """How many times the other's cost."""
        return {
            "seconds": round(self.seconds / other.seconds, 2),
            "cpu": round(self.cpu_seconds / other.cpu_seconds, 2),
        }


@dataclass(frozen=True, slots=True)
class Turn:
    """The bare SQL, and right after it everything recomputed from nothing."""

    bare: Cost
    bare_mb: int
    recompute: Cost
    recompute_mb: int


def bench_rebuild(size: Size) -> dict[str, Any]:
    """Everything measured, for `lasttouch bench rebuild`."""
    with tempfile.TemporaryDirectory(prefix="lasttouch-bench-") as folder:
        small = Bench(f"chdb://{folder}", "bench_small", size.times(1 / SMALLER))
        large = Bench(f"chdb://{folder}", "bench_large", size)
        for each in (small, large):
            each.make_facts()
            each.wait_for_merges()
        turns = [_turn(large) for _ in range(TURNS)]
        small.round()
        audited, is_clean = large.audit()
        rounds = {
            kind: {"small": median(new(small)), "large": median(new(large))}
            for kind, new in {"10k_payments": _payments, "one_payment": _one_payment, "clicks": _clicks}.items()
        }
        result = {
            "facts": size.parameters,
            "ledger_lines": large.count("ledger"),
            "turns": [
                {
                    "count_only": {**turn.bare.shown(), "peak_mb": turn.bare_mb},
                    "recompute": {**turn.recompute.shown(), "peak_mb": turn.recompute_mb},
                    "recompute_over_count_only": turn.recompute.over(turn.bare),
                }
                for turn in turns
            ],
            "audit": {**audited.shown(), "is_clean": is_clean},
            "rounds": {
                kind: {name: cost.shown() for name, cost in costs.items()}
                | {"large_over_small": costs["large"].over(costs["small"])}
                for kind, costs in rounds.items()
            },
            "bytes_per_click": round(large.bytes("clicks") / size.clicks, 1),
        }
        for each in (small, large):
            each.close()
        return result


def _turn(bench: Bench) -> Turn:
    """One right after the other: a machine that others use is not as fast a minute later. With peaks of memory."""
    bench.forget_results()
    _forget_peak_memory()
    bare, bare_mb = bench.count_only(), _peak_memory_mb()
    _forget_peak_memory()
    recompute, recompute_mb = bench.round(), _peak_memory_mb()
    bench.wait_for_merges()
    return Turn(bare, bare_mb, recompute, recompute_mb)


def median(costs: list[Cost]) -> Cost:
    """The cost in the middle, by processor time."""
    return sorted(costs, key=lambda cost: cost.cpu_seconds)[len(costs) // 2]


MONTHS = """
select distinct partition
from system.parts
where active and table = 'clicks' and database = currentDatabase()
"""


class Bench:
    """A program of some size in a database of its own."""

    def __init__(self, url: str, database: str, size: Size, start_ms: int = START_MS) -> None:
        """`start_ms`: when the first partners join. Clicks are of the 30th to the 390th day after it."""
        self._start_ms = start_ms
        self._warehouse = Warehouse.open(url, database)
        self._warehouse.migrate()
        self._size = size
        self._load = 1
        self._payments = size.payments
        self._clicks = size.clicks

    def make_facts(self) -> None:
        """All facts of the size, as one finished load."""
        for name in ("partners", "partner_events", "signups", "refunds"):
            self._make(name)
        self._make("payments", first=0, count=self._size.payments, load_id=1)
        for first in range(0, self._size.clicks, CLICKS_PER_INSERT):
            self._make("clicks", first=first, count=min(CLICKS_PER_INSERT, self._size.clicks - first), load_id=1)
        Staging(self._warehouse, {}).count_days_again(self._load)
        self._finish_load()

    def wait_for_merges(self) -> None:
        """Wait until ClickHouse merges nothing more: it would take its time from what is measured."""
        deadline_s = time.monotonic() + MERGE_SECONDS
        while self._warehouse.rows("select 1 from system.merges limit 1") and time.monotonic() < deadline_s:
            time.sleep(0.2)

    def merge_months(self) -> None:
        """Make each month of clicks one part, as ClickHouse does by itself some hours after a month's last click."""
        for row in self._warehouse.rows(MONTHS):
            self._warehouse.run(f"optimize table clicks partition {row['partition']} final")

    def new_payments(self, count: int) -> None:
        """A load of payments of licenses that are known."""
        self._load += 1
        self._make("payments", first=self._payments, count=count, load_id=self._load)
        self._payments += count
        self._finish_load()

    def new_clicks(self, count: int) -> None:
        """A load of clicks of the time after everything else."""
        self._load += 1
        self._make("clicks", first=self._clicks, count=count, load_id=self._load, start_ms=END_MS)
        self._clicks += count
        Staging(self._warehouse, {}).count_days_again(self._load)
        self._finish_load()

    def count_only(self) -> Cost:
        query = QUERIES["count_only"]
        return _measured(lambda: self._warehouse.rows(query, window_ms=PROGRAM.window_ms))

    def round(self) -> Cost:
        """A round over what is new. Raises SettingError when there was nothing to decide."""
        rounds: list[Any] = []
        cost = _measured(lambda: rounds.append(run_round(self._warehouse, PROGRAM, END_MS)))
        if rounds[0] is None:
            raise SettingError("the benchmark's round found no new facts")
        return cost

    def forget_results(self) -> None:
        """Empty everything that rounds have written."""
        for table in DERIVED_TABLES:
            self._warehouse.run("truncate table {table:Identifier}", table=table)

    def audit(self) -> tuple[Cost, bool]:
        """What an audit took, and whether it found the ledger right."""
        clean: list[bool] = []
        cost = _measured(lambda: clean.append(audit(self._warehouse, PROGRAM).is_clean))
        return cost, clean[0]

    def count(self, table: str) -> int:
        found: int = self._warehouse.rows("select count() as n from {table:Identifier}", table=table)[0]["n"]
        return found

    def bytes(self, table: str) -> int:
        """Of a table, on the disk."""
        found: int = self._warehouse.rows(
            "select sum(bytes_on_disk) as n from system.parts"
            " where active and database = currentDatabase() and table = {table:String}",
            table=table,
        )[0]["n"]
        return found

    def leave(self) -> None:
        """Close, and leave the database where it is."""
        self._warehouse.close()

    def close(self) -> None:
        """Close, and leave nothing behind."""
        self._warehouse.drop()
        self._warehouse.close()

    def _make(self, name: str, **parameters: int) -> None:
        self._warehouse.run(QUERIES[name], **{"start_ms": self._start_ms, **self._size.parameters, **parameters})

    def _finish_load(self) -> None:
        self._warehouse.insert("loads", ["load_id", "stream", "is_finished"], [[self._load, "bench", 1]])


def _payments(bench: Bench) -> list[Cost]:
    return _after(lambda: bench.new_payments(NEW_PAYMENTS), bench)


def _one_payment(bench: Bench) -> list[Cost]:
    return _after(lambda: bench.new_payments(1), bench)


def _clicks(bench: Bench) -> list[Cost]:
    return _after(lambda: bench.new_clicks(NEW_CLICKS), bench)


def _after(new: Callable[[], None], bench: Bench) -> list[Cost]:
    """What rounds cost after new facts, several times."""
    costs = []
    for _ in range(REPEATS):
        new()
        costs.append(bench.round())
    return costs


def _measured(work: Callable[[], object]) -> Cost:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - began, time.process_time() - cpu)


def _forget_peak_memory() -> None:
    """Let the kernel measure the peak anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_mb() -> int:
    """The most memory that this process had since the last _forget_peak_memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
