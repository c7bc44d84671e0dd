"""The redirect with a large directory beside one with a small one, in one run: part of `lasttouch bench redirect`.

Two servers share one core, each with a Redis of its own: one knows a link, the other a million. Asked is one link of
either (`one_of_one`, `one`), and of the large one also all of them alike (`uniform`), and as popular ones are asked for
(`zipf`: the second half as often as the first, the third a third as often). Also measured: how long the large one takes
to read its directory from Redis and from its snapshot, what memory it takes, and how long visitors wait while
everything is read again.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis

from loadtests.pinned_server import (
    CHROME,
    Measured,
    Server,
    find_wrk,
    load,
    on_the_load_core,
    ratio,
    running_server,
    summary,
)
from loadtests.steady_load import Latency, steady_load
from tracker import redis_keys, redis_server
from tracker.errors import SettingError
from tracker.settings import Settings

PAGE = 2000
LOADED_SECONDS = 600
# Visitors a second while everything is read again, and while nothing is: few, so that it is not they who wait in line.
STEADY_RATE = 500.0
LINK = "/b0000000"
REQUEST = f"GET {LINK} HTTP/1.1\r\nHost: bench\r\nUser-Agent: {CHROME}\r\n\r\n".encode()


def bench_directory(links: int, partners: int, rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Run the comparison. Raises SettingError where it can't run here."""
    wrk = find_wrk()
    with ExitStack() as stack:
        stack.enter_context(on_the_load_core())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lasttouch-bench-")))
        small = _server(stack, folder / "small", 1, 1)
        settings, url = _redis(stack, folder / "large", links, partners)
        with running_server("lane", settings.data, url) as first:
            from_redis = _until_known(first, links, settings)
        began_s = time.monotonic()
        large = stack.enter_context(running_server("lane", settings.data, url))
        from_snapshot = {"seconds": round(time.monotonic() - began_s, 1), **_until_known(large, links, settings)}
        measured = {name: Measured() for name in ("one_of_one", "one", "uniform", "zipf")}
        for number in range(rounds):
            for name, each in measured.items():
                server = small if name == "one_of_one" else large
                load(wrk, server, each, seconds, connections, "directory.lua", (name, str(links)))
            print(f"directory: round {number + 1} of {rounds} done", file=sys.stderr)
        memory_mb = round(large.memory_mb(), 1)
        quiet = steady_load(large.port, [REQUEST], STEADY_RATE, seconds, 4)
        rereading = _while_reading_again(large.port, url, seconds)
        return {
            "links": links,
            "partners": partners,
            **{name: summary(each) for name, each in measured.items()},
            "ratios": {name: ratio(measured[name], measured["one_of_one"]) for name in ("one", "uniform", "zipf")},
            "memory_mb": {"small": round(small.memory_mb(), 1), "large": memory_mb},
            "memory_mb_after_reading_again": round(large.memory_mb(), 1),
            "read_from_redis": from_redis,
            "started_from_snapshot": from_snapshot,
            "latency": {"quiet": asdict(quiet), "worst_while_reading_again": asdict(rereading)},
        }


def _server(stack: ExitStack, folder: Path, links: int, partners: int) -> Server:
    settings, url = _redis(stack, folder, links, partners)
    return stack.enter_context(running_server("lane", settings.data, url))


def _redis(stack: ExitStack, folder: Path, links: int, partners: int) -> tuple[Settings, str]:
    """A Redis with a directory, and settings with a data folder."""
    folder.mkdir()
    settings = Settings(data=folder)
    url = stack.enter_context(redis_server.running(settings))
    with closing(redis.Redis.from_url(url)) as client:
        fill_directory(client, links, partners)
    return settings, url


def fill_directory(client: redis.Redis, links: int, partners: int) -> None:
    """A directory as it would have grown: each partner has a link per product from the join, the other links are
    campaigns'. Codes are `b0000000` and so on."""
    _fill(client, redis_keys.PARTNERS, _partner_entries(partners))
    _fill(client, redis_keys.LINKS, _link_entries(links, partners))
    client.set(redis_keys.COMPLETE, "1")
    client.xadd(redis_keys.CHANGES, {"kind": "all", "key": ""})


def _partner_entries(count: int) -> Iterator[tuple[str, str]]:
    for number in range(count):
        name = f"W-{number:07d}"
        entry = {"joined_at": 1_700_000_000_000, "name": f"Partner {number}", "email": f"{name}@partners.example"}
        codes = {"livechat": f"b{number:07d}", "partner_program": f"b{number + count:07d}"}
        more: dict[str, Any] = {"email_hash": f"{number:032x}", "recruiter_id": None, "links": codes, "changes": []}
        yield name, json.dumps({**entry, **more})


def _link_entries(count: int, partners: int) -> Iterator[tuple[str, str]]:
    for number in range(count):
        link = {"partner_id": f"W-{number % partners:07d}", "product": "livechat", "campaign": "", "landing_url": ""}
        if number // partners == 1:
            link["product"] = "partner_program"
        elif number // partners > 1:
            link["campaign"] = f"pp_campaign-{number}"
            link["landing_url"] = (
                f"https://www.livechat.com/{('pricing', 'features', f'blog/{number % 2000}')[number % 3]}"
            )
        yield f"b{number:07d}", json.dumps(link)


def _fill(client: redis.Redis, hash_key: str, entries: Iterator[tuple[str, str]]) -> None:
    page: dict[str | bytes | int | float | bytearray | memoryview, Any] = {}
    for code, entry in entries:
        page[code] = entry
        if len(page) == PAGE:
            client.hset(hash_key, mapping=page)
            page = {}
    if page:
        client.hset(hash_key, mapping=page)


def _until_known(server: Server, links: int, settings: Settings) -> dict[str, float]:
    """Wait until a server has all links in memory and in its snapshot: its processor time until then, its memory."""
    deadline_s = time.monotonic() + LOADED_SECONDS
    while time.monotonic() < deadline_s:
        if _number(server.port, "lasttouch_directory_links") >= links and settings.directory_snapshot.exists():
            return {"cpu_seconds": round(server.cpu_seconds(), 1), "memory_mb": round(server.memory_mb(), 1)}
        time.sleep(0.2)
    raise SettingError(f"the directory was not loaded within {LOADED_SECONDS} seconds")


def _while_reading_again(port: int, url: str, seconds: float) -> Latency:
    """The worst latency of some seconds from when everything must be read again until it was."""
    reads = _number(port, "lasttouch_directory_reads_total")
    with closing(redis.Redis.from_url(url)) as client:
        client.xadd(redis_keys.CHANGES, {"kind": "all", "key": ""})
    found = [steady_load(port, [REQUEST], STEADY_RATE, seconds, 4)]
    while _number(port, "lasttouch_directory_reads_total") == reads:
        found.append(steady_load(port, [REQUEST], STEADY_RATE, seconds, 4))
    return max(found, key=lambda latency: latency.p99_ms)


def _number(port: int, name: str) -> float:
    """A number of /metrics."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        found = re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", connection.getresponse().read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0
