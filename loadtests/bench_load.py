"""`lasttouch bench load`: how fast the journal gets into ClickHouse, and how fresh the app is meanwhile, in one run.

First the redirect's peak, as `bench redirect` measures it. Then clicks that are journaled in batches as large as those
were, brought in by the loader; and beside it the same bytes by nothing but `insert … format TSV`, round after round, so
that a noisy machine is noisy for both. In the end how long a click takes until it is attributed and in the app's report
(freshness.py), with all processes on all cores.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from loadtests.bench_redirect import bench_redirect
from loadtests.drain import Drained
from loadtests.freshness import Freshness
from loadtests.journaled_clicks import journal_clicks, kinds_of_clicks
from loadtests.own_server import ROOT, ServerBroke, serving
from tracker import redis_server
from tracker.settings import Settings

FRESH_CLICKS_PER_SECOND = 5_000
REDIRECT_SECONDS = 4.0
DRAIN_SECONDS = 1_800


def bench_load(rounds: int, seconds: float, connections: int, waiting: int, workers: int) -> dict[str, Any]:
    """What is printed as JSON. `waiting` clicks are journaled in each round; freshness is looked at for `seconds`.

    Raises SettingError where it can't run, and ServerBroke when something went wrong.
    """
    redirect = bench_redirect(1, REDIRECT_SECONDS, connections)
    peak = redirect["plain"]["lane"]["per_second"]
    batch = max(1, round(redirect["clicks_per_batch"]))
    _tell(f"a worker answered {peak} redirects a second at its peak, {batch} clicks a batch")
    by_loader: list[Drained] = []
    by_insert: list[Drained] = []
    for number in range(rounds):
        loaded, inserted = _drain_both(waiting, batch, number)
        by_loader.append(loaded)
        by_insert.append(inserted)
        _tell(f"round {number + 1} of {rounds}: {_words(loaded)} by the loader, {_words(inserted)} by plain inserts")
    with tempfile.TemporaryDirectory(prefix="lasttouch-bench-") as folder:
        for server in serving(Path(folder), workers=workers):
            freshness = Freshness(server, FRESH_CLICKS_PER_SECOND, seconds).measure()
    return {
        "loader": _summary(by_loader),
        "insert": _summary(by_insert),
        "redirect_peak_per_second": peak,
        "clicks_per_batch": batch,
        "ratios": {
            "loader_to_insert": _ratio(by_loader, by_insert),
            "loader_to_redirect_peak": round(_per_second(by_loader) / peak, 2),
        },
        "freshness": freshness,
    }


def _drain_both(clicks: int, batch: int, seed: int) -> tuple[Drained, Drained]:
    """The same clicks by the loader and by plain inserts, each in a process of its own, one after the other."""
    with tempfile.TemporaryDirectory(prefix="lasttouch-bench-") as name:
        folder = Path(name)
        lines = folder / "clicks.tsv"
        with redis_server.running(Settings(data=folder)) as redis_url:
            with Redis.from_url(redis_url) as redis, lines.open("wb") as copy:
                chance = random.Random(seed)
                journal_clicks(redis, clicks, batch, kinds_of_clicks(chance), chance, copy)
            loaded = _drained("loader", redis_url, folder / "loaded")
        return loaded, _drained("insert", str(lines), folder / "inserted")


def _drained(how: str, source: str, clickhouse: Path) -> Drained:
    words = [sys.executable, "-m", "loadtests.drain", how, source, f"chdb://{clickhouse}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DRAIN_SECONDS)
    if done.returncode != 0:
        raise ServerBroke(f"clicks could not be brought in:\n{done.stderr[-4000:]}")
    return Drained(**json.loads(done.stdout.splitlines()[-1]))


def _summary(drained: Sequence[Drained]) -> dict[str, float]:
    return {
        "clicks": drained[0].clicks,
        "per_second": round(_per_second(drained)),
        "cpu_microseconds": round(statistics.median(1e6 * each.cpu_seconds / each.clicks for each in drained), 2),
        "memory_before_mb": round(max(each.memory_before_mb for each in drained)),
        "peak_memory_mb": round(max(each.peak_memory_mb for each in drained)),
    }


def _per_second(drained: Sequence[Drained]) -> float:
    return statistics.median(each.clicks / each.seconds for each in drained)


def _ratio(loaded: Sequence[Drained], inserted: Sequence[Drained]) -> dict[str, float]:
    """How the loader compares to plain inserts, 1 being as good: medians of the rounds' own ratios."""
    pairs = list(zip(loaded, inserted, strict=True))
    return {
        "per_second": round(statistics.median(plain.seconds / ours.seconds for ours, plain in pairs), 2),
        "cpu": round(statistics.median(plain.cpu_seconds / ours.cpu_seconds for ours, plain in pairs), 2),
    }


def _words(drained: Drained) -> str:
    return f"{drained.clicks / drained.seconds:,.0f} a second"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
