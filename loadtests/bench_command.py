"""`lasttouch bench`: what can be measured, and how much of it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracker.flags import DATA, WORKERS, Flag, Options


def bench(options: Options) -> int:
    """measure, side by side in one run, or break a server of its own; JSON on the last line"""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it takes its servers down, too
    print(json.dumps(BENCHES[options.what](options)))
    return 0


def _bench_redirect(options: Options) -> dict[str, Any]:
    from loadtests.bench_directory import bench_directory
    from loadtests.bench_redirect import bench_redirect

    load = (options.rounds or 5, options.seconds or 4.0, options.connections or 64)
    measured = bench_redirect(*load)
    if options.links:
        measured["directory"] = bench_directory(options.links, max(1, options.links // 5), *load)
    return measured


def _bench_kill(options: Options) -> dict[str, Any]:
    from loadtests.bench_kill import bench_kill

    return bench_kill(options.rounds or 200, options.seconds or 3.0, options.seed, options.workers)


def _bench_load(options: Options) -> dict[str, Any]:
    from loadtests.bench_load import bench_load

    connections, seconds = options.connections or 64, options.seconds or 20.0
    return bench_load(options.rounds or 3, seconds, connections, options.waiting, options.workers)


def _bench_rebuild(options: Options) -> dict[str, Any]:
    from loadtests.bench_rebuild import Size, bench_rebuild

    return bench_rebuild(Size(options.clicks, options.signups, options.payments, options.partners).times(options.scale))


def _bench_report(options: Options) -> dict[str, Any]:
    from loadtests.bench_rebuild import Size
    from loadtests.bench_report import bench_report

    size = Size(options.clicks, options.signups, options.payments, options.partners).times(options.scale)
    return bench_report(size, options.seconds or 30.0, options.connections or 50)


def _bench_day(options: Options) -> dict[str, Any]:
    from loadtests.bench_day import bench_day

    return bench_day(options.rounds or 8640, options.seconds, Path(options.keep) if options.keep else None)


BENCHES: dict[str, Callable[[Options], dict[str, Any]]] = {
    "redirect": _bench_redirect,
    "load": _bench_load,
    "kill": _bench_kill,
    "rebuild": _bench_rebuild,
    "report": _bench_report,
    "day": _bench_day,
}

WHAT = Flag(
    "what",
    {
        "choices": list(BENCHES),
        "help": "`redirect`: a durable click beside an empty answer; `load`: from the journal to the app's reports; "
        "`kill`: traffic while processes are killed; `rebuild`: attribution beside the bare SQL that counts; "
        "`report`: partners who ask for their reports; `day`: ClickHouse's tables after many small loads",
    },
)
ROUNDS = Flag(
    "--rounds",
    {"metavar": "N", "type": int, "help": "rounds (default: redirect 5, load 3, kill 200; day: loads, 8640)"},
)
SECONDS = Flag(
    "--seconds",
    {
        "metavar": "S",
        "type": float,
        "help": "of load (default: redirect 4, load 20, kill 3 a round); day: at most (default: as long as it takes)",
    },
)
LINKS = Flag(
    "--links",
    {
        "metavar": "N",
        "type": int,
        "default": 1_000_000,
        "help": "redirect: links in the large directory, with a fifth as many partners (default 1,000,000; 0: without)",
    },
)
WAITING = Flag(
    "--waiting",
    {"metavar": "N", "type": int, "default": 1_000_000, "help": "load: clicks in the journal (default 1,000,000)"},
)
KEEP = Flag(
    "--keep",
    {"metavar": "DIR", "help": "day: keep its data in this folder, and go on with what an earlier run left there"},
)
SEED = Flag("--seed", {"metavar": "N", "type": int, "help": "kill: do what a run that told this number did"})
CONNECTIONS = Flag("--connections", {"metavar": "N", "type": int, "help": "at once (default: 64, report 50)"})
SIZE = tuple(
    Flag(
        f"--{name}",
        {"metavar": "N", "type": int, "default": count, "help": f"rebuild, report: how many (default {count:,})"},
    )
    for name, count in (("clicks", 20_000_000), ("signups", 400_000), ("payments", 2_000_000), ("partners", 10_000))
)
SCALE = Flag(
    "--scale", {"metavar": "X", "type": float, "default": 1.0, "help": "rebuild, report: times as many (default 1)"}
)
BENCH_FLAGS = (WHAT, DATA, ROUNDS, SECONDS, KEEP, CONNECTIONS, LINKS, WAITING, SEED, WORKERS, *SIZE, SCALE)
