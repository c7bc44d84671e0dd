"""A process that brings clicks into an embedded ClickHouse of its own, and tells what it took.

`python -m loadtests.drain loader REDIS_URL CLICKHOUSE_URL`: what waits in the journal, by the loader.
`python -m loadtests.drain insert FILE CLICKHOUSE_URL`: a file's lines into the same table by nothing but
`insert … format TSV`, as many bytes at once as the loader takes.

A process of its own, because one process has one chDB data folder, and so that its memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from redis import Redis

from attribution.loader import MAX_LOAD_BYTES, Loader
from attribution.warehouse import Warehouse
from tracker.events import CLICK_COLUMNS
from tracker.program import Program


@dataclass(frozen=True, slots=True)
class Drained:
    """What it took: processor time of the whole process, merges of ClickHouse included; memory before and at most."""

    clicks: int
    seconds: float
    cpu_seconds: float
    memory_before_mb: float
    peak_memory_mb: float


def drain_journal(redis_url: str, warehouse: Warehouse) -> int:
    """Load until nothing waits. How many clicks were stored."""
    loader = Loader(Redis.from_url(redis_url), warehouse, Program(), lambda: time.time_ns() // 1_000_000)
    stored = 0
    while load := loader.load_once():
        stored += load.stored
    return stored


def insert_file(path: str, warehouse: Warehouse) -> int:
    """Insert all lines. How many they were."""
    lines = 0
    for chunk in _chunks(path):
        warehouse.insert_bytes("clicks", CLICK_COLUMNS, chunk, "TSV")
        lines += chunk.count(b"\n")
    return lines


def _chunks(path: str) -> Iterator[bytes]:
    """Whole lines of about MAX_LOAD_BYTES."""
    with Path(path).open("rb") as file:
        while chunk := file.read(MAX_LOAD_BYTES):
            yield chunk + file.readline()


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(how: str, source: str, clickhouse_url: str) -> None:
    warehouse = Warehouse.open(clickhouse_url)
    warehouse.migrate()
    memory_before_mb = _memory_mb()
    began_s, cpu_before_s = time.perf_counter(), time.process_time()
    clicks = {"loader": drain_journal, "insert": insert_file}[how](source, warehouse)
    seconds, cpu_seconds = time.perf_counter() - began_s, time.process_time() - cpu_before_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    stored = int(warehouse.rows("select count() as stored from clicks")[0]["stored"])
    if stored != clicks:
        raise AssertionError(f"{clicks} clicks were brought in, {stored} are there")
    print(json.dumps(asdict(Drained(clicks, seconds, cpu_seconds, memory_before_mb, peak_mb))))


if __name__ == "__main__":
    main(*sys.argv[1:])
