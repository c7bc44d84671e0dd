"""A Redis that is away in every way there is: visitors are sent on in time, and what was counted is stored once.

One `lasttouch serve` works on a Redis of the tests' own, behind a proxy. Each way to break it is a row of a table; all
are held to the same. Every click is a new visitor's, so that a click is known by its visitor. The last test looks at
what came of all of them together.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness import ADMIN_TOKEN, BROWSER, ROOT, Answer, Journey, Server, Visitor, poll, send, serving
from tests.own_redis import HONEST, Manner, OwnRedis, Proxy, limit_file_size
from tracker.api import REDIS_SECONDS
from tracker.spool import spooled_count

pytestmark = pytest.mark.alone

REDIRECTED_SECONDS = 0.25
AWAY_SECONDS = 0.8
VISITORS_AT_ONCE = 8
PAUSE_SECONDS = 0.02  # between two visitors on one connection
DELIVERED_SECONDS = 20
PASSWORD = "secret"
LARGE_KEYS = 16

# Answers at once whatever is asked of it. What it is late by, the machine is late by.
BYSTANDER = """
import asyncio
async def serve(reader, writer):
    while await reader.readline():
        if await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""

# Run where nothing else has chDB loaded: one process may open a data folder once.
STORED_CLICKS = """
import json, sys
from attribution.warehouse import Warehouse
rows = Warehouse.open(sys.argv[1]).rows("select partner_id, toString(visitor_id) as visitor_id from clicks")
print(json.dumps([[row["partner_id"], row["visitor_id"]] for row in rows]))
"""


@dataclass
class Conversion:
    """A call that was made while Redis was away, and what came of it."""

    path: str
    body: dict[str, Any]
    answer: Answer
    took_s: float


@dataclass
class Seen:
    """What visitors and sites saw of one way, all of its rounds together."""

    partner_id: str
    license_id: str
    """A license of that partner's, for payments."""
    counted: list[str] = field(default_factory=list)
    """The visitors whose click was answered `counted`."""
    said: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    """Of the last round: the longest that a redirect took."""
    bystander_s: float = 0.0
    """Of the last round: the longest that the bystander took meanwhile."""
    conversions: list[Conversion] = field(default_factory=list)

    @property
    def was_in_time(self) -> bool:
        return self.slowest_s <= REDIRECTED_SECONDS + self.bystander_s


class World:
    """The server, its Redis, the proxy between them, and what was seen so far."""

    def __init__(self, folder: Path) -> None:
        (folder / "redis").mkdir()
        self.redis = OwnRedis(folder / "redis", "--requirepass", PASSWORD)
        self.redis.start()
        self.redis.wait_until_up(PASSWORD)
        self.proxy = Proxy(self.redis.socket)
        self.bystander = subprocess.Popen([sys.executable, "-c", BYSTANDER], stdout=subprocess.PIPE)
        assert self.bystander.stdout is not None
        self.bystander_port = int(self.bystander.stdout.readline())
        self.server: Server
        self.journey: Journey
        self.seen: dict[str, Seen] = {}

    def close(self) -> None:
        self.proxy.close()
        self.redis.kill()
        self.bystander.kill()
        self.bystander.communicate()

    @property
    def spool(self) -> Path:
        return self.server.data / "spool"

    def admin(self) -> redis.Redis:
        """A way to Redis past the proxy."""
        return self.redis.client(PASSWORD)

    def workers(self) -> list[int]:
        return [pid for pid, command in self.server.processes().items() if " tracker --worker" in command]

    def visit(self, seen: Seen, meanwhile: Callable[[World], object] | None = None) -> None:
        """Visitors come for AWAY_SECONDS, while two conversions are tried; `meanwhile` happens half way."""
        asyncio.run(self._visit(seen, meanwhile))

    async def _visit(self, seen: Seen, meanwhile: Callable[[World], object] | None) -> None:
        until_s = time.monotonic() + AWAY_SECONDS
        times: list[float] = []
        others: list[float] = []
        link = f"/a/{seen.partner_id}"
        crowd = [self._come(self.server.tracker_port, link, until_s, times, seen) for _ in range(VISITORS_AT_ONCE)]
        crowd.append(self._come(self.bystander_port, "/", until_s, others, None))
        calls = [asyncio.to_thread(self.convert, seen, number) for number in range(2)]
        visiting = asyncio.gather(*crowd, *calls)
        if meanwhile is not None:
            await asyncio.sleep(AWAY_SECONDS / 2)
            await asyncio.to_thread(meanwhile, self)
        await visiting
        seen.slowest_s, seen.bystander_s = max(times), max(others)

    async def _come(self, port: int, target: str, until_s: float, times: list[float], seen: Seen | None) -> None:
        """One visitor after another on one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {BROWSER}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            times.append(time.monotonic() - began_s)
            if seen is not None:
                said = re.findall(r"x-lasttouch: (\S+)", head)[0]
                seen.said[f"{head[9:12]} {said}"] += 1
                if said == "counted":
                    seen.counted += re.findall(r"lt_vid=([0-9a-f-]{36})", head)
            await asyncio.sleep(PAUSE_SECONDS)
        writer.close()

    def convert(self, seen: Seen, number: int) -> None:
        """A signup or a payment."""
        name = f"{seen.partner_id}-{number}-{len(seen.conversions)}-{time.monotonic_ns()}"[-60:]
        path, body = "/v1/signups", {"license_id": name, "product": "livechat", "partner_id": seen.partner_id}
        if number:
            money = {"amount_cents": 1000, "currency": "USD"}
            path, body = "/v1/payments", {"payment_id": name, "license_id": seen.license_id, **money}
        began_s = time.monotonic()
        answer = self.call(path, body)
        seen.conversions.append(Conversion(path, body, answer, time.monotonic() - began_s))

    def call(self, path: str, body: dict[str, Any]) -> Answer:
        return self.server.api(path, body)

    def ask(self, path: str) -> Answer:
        return self.server.tracker("GET", path, Authorization=f"Bearer {ADMIN_TOKEN}")

    def is_delivered(self) -> bool:
        """Whether nothing waits on disk, and the server answers that."""
        answer = self.ask("/v1/pipeline")
        return answer.status == 200 and answer.json["spooled"] == 0 and spooled_count(self.spool) == 0

    def wait_until_known(self, partners: int) -> None:
        """Until every worker has so many partners in memory."""
        known = self.server.workers * partners
        poll("the workers know them", 20, lambda: self.metric("lasttouch_directory_partners") == known)

    def metric(self, name: str) -> float:
        """A metric, all workers together."""
        found: dict[str, float] = {}

        def all_have_answered() -> bool:
            text = send(self.server.tracker_port, "GET", "/metrics").body.decode()
            worker = re.findall(r'worker="(\d+)"', text)[0]
            found[worker] = sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)", text, re.MULTILINE)))
            return len(found) == len(self.workers())

        poll("every worker's metrics", 20, all_have_answered)
        return sum(found.values())


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="lt-away-") as name:
        folder = Path(name)
        world = World(folder)
        try:
            url = f"redis://:{PASSWORD}@127.0.0.1:{world.proxy.port}/0"
            for server in serving(folder, environ={"LASTTOUCH_REDIS_URL": url}):
                world.server, world.journey = server, Journey(server)
                lines = list(partners(world.journey))
                world.journey.import_lines(lines)
                world.wait_until_known(len(lines) // 2)  # every other line is a partner's
                yield world
        finally:
            world.close()


def partners(journey: Journey) -> Iterator[dict[str, str]]:
    """A partner whose clicks come first in every way, and one for each way, with a license."""
    for name in ("before", *(f"P{number}" for number in range(len(WAYS) + len(OTHERS)))):
        given = {"partner_id": journey.id(name), "name": name, "email": f"{journey.id(name)}@partners.example"}
        yield {"type": "partner", **given}
        license_id = journey.id(name.replace("P", "L"))
        yield {"type": "signup", "license_id": license_id, "product": "livechat", "partner_id": journey.id(name)}


@dataclass(frozen=True)
class Way:
    """How Redis goes away and comes back."""

    away: Callable[[World], object]
    back: Callable[[World], object]
    refuses: bool = True
    """Whether it takes nothing meanwhile: then every click goes to the disk, and every conversion is a 503."""
    meanwhile: Callable[[World], object] | None = None


def start(world: World) -> None:
    world.redis.start()
    world.redis.wait_until_up(PASSWORD)


def config(name: str, value: str) -> Callable[[World], object]:
    return lambda world: world.admin().config_set(name, value)


def replicate(*master: str) -> Callable[[World], object]:
    return lambda world: world.admin().replicaof(*master)


def behave(manner: Manner, cut: bool = False) -> Callable[[World], object]:
    return lambda world: world.proxy.behave(manner, cut)


def kill_and_empty(world: World) -> None:
    world.server.attributed()  # what is in ClickHouse can be lost in Redis
    world.redis.kill()
    world.redis.forget_everything()


def load_slowly(world: World) -> None:
    """Restart it with so much to do for every key that it is LOADING for a while. It says so every 2 MB."""
    admin = world.admin()
    for number in range(LARGE_KEYS):
        admin.set(f"large:{number}", os.urandom(1 << 20))
    admin.bgrewriteaof()
    poll("the AOF is rewritten", 20, lambda: not admin.info("persistence")["aof_rewrite_in_progress"])
    microseconds = int((AWAY_SECONDS + REDIS_SECONDS) * 1e6 / admin.dbsize())
    world.redis.kill()
    world.redis.start("--key-load-delay", str(microseconds))


def wait_until_loaded(world: World) -> None:
    world.redis.wait_until_up(PASSWORD)
    world.admin().delete(*(f"large:{number}" for number in range(LARGE_KEYS)))


def fill_its_disk(world: World) -> None:
    """The first write that does not fit is acknowledged all the same; from then on Redis refuses them (MISCONF)."""
    world.redis.let_files_grow_to(1)
    admin = world.admin()
    with suppress(redis.RedisError):  # somebody else's write was the first
        admin.set("some key", "some value")
    poll("Redis has noticed", 10, lambda: admin.info("persistence")["aof_last_write_status"] == "err")


def run_an_endless_script(world: World) -> None:
    admin = world.admin()
    admin.config_set("lua-time-limit", "100")

    def run() -> None:
        with suppress(redis.RedisError):
            admin.eval("while true do end", 0)

    threading.Thread(target=run, daemon=True).start()


def change_the_password(world: World) -> None:
    world.admin().config_set("requirepass", "another")
    world.proxy.behave(HONEST, cut=True)


REFUSING = behave(Manner(is_refusing=True), cut=True)
HONESTLY = behave(HONEST, cut=True)

WAYS = {
    "stopped": Way(lambda world: world.redis.stop(), start),
    "killed": Way(lambda world: world.redis.kill(), start),
    "killed and emptied": Way(kill_and_empty, start),
    "killed and loading": Way(load_slowly, wait_until_loaded),
    "hanging": Way(lambda world: world.redis.send(signal.SIGSTOP), lambda world: world.redis.send(signal.SIGCONT)),
    "out of memory": Way(config("maxmemory", "1"), config("maxmemory", "0")),
    "a replica": Way(replicate("127.0.0.1", "1"), replicate("no", "one")),
    "without its replicas": Way(config("min-replicas-to-write", "1"), config("min-replicas-to-write", "0")),
    "on a full disk": Way(fill_its_disk, lambda world: world.redis.let_files_grow_to(-1)),
    "busy with a script": Way(run_an_endless_script, lambda world: world.admin().script_kill()),
    "paused for writes": Way(
        lambda world: world.admin().client_pause(60_000, all=False), lambda world: world.admin().client_unpause()
    ),
    "unreachable": Way(REFUSING, HONESTLY),
    "half open": Way(behave(Manner(is_silent=True)), HONESTLY),
    "slow": Way(behave(Manner(delay_s=0.2)), HONESTLY, False),
    "cut off in every answer": Way(behave(Manner(reply_bytes=1)), HONESTLY),
    "losing what is sent": Way(behave(Manner(request_bytes=300), cut=True), HONESTLY),
    "under another password": Way(
        change_the_password, lambda world: world.redis.client("another").config_set("requirepass", PASSWORD)
    ),
    "unreachable, and the spool's folder is removed": Way(
        REFUSING, HONESTLY, meanwhile=lambda world: shutil.rmtree(world.spool)
    ),
}  # fmt: skip
OTHERS = ("full disk", "late")


def begin(world: World, name: str) -> Seen:
    number = [*WAYS, *OTHERS].index(name)
    return world.seen.setdefault(name, Seen(world.journey.id(f"P{number}"), world.journey.id(f"L{number}")))


@pytest.mark.parametrize("name", WAYS)
def test_redis_is(world: World, name: str) -> None:
    way, seen = WAYS[name], begin(world, name)
    visitor = Visitor(world.server)
    click(visitor, world.journey.id("before"))
    for _ in range(2):  # the machine may be busy once
        poll("the workers write to Redis", 20, lambda: world.metric("lasttouch_redis_away") == 0)
        way.away(world)
        try:
            world.visit(seen, meanwhile=way.meanwhile)
            click(visitor, seen.partner_id)
            waiting = spooled_count(world.spool)
        finally:
            way.back(world)
        if seen.was_in_time:
            break
    assert seen.was_in_time, seen
    check_redirects(seen)
    check_conversions(seen, must_refuse=way.refuses)
    if way.refuses:
        assert waiting > 0

    poll("the spool is delivered", DELIVERED_SECONDS, world.is_delivered)
    # In the order of time (R2), though the older click came to Redis first or is not there any more. Where Redis was
    # emptied, signups are refused until they can be decided.
    signup = {"license_id": f"{seen.partner_id}-S", "product": "livechat", "visitor_id": visitor.id}
    answer = poll("the signup is taken", 30, lambda: _taken(world.call("/v1/signups", signup)))
    assert answer.json["attribution"]["partner_id"] == seen.partner_id
    repeat_conversions(world, seen)


def click(visitor: Visitor, partner_id: str) -> None:
    """Click until it counts: a disk may be slow for a moment."""
    poll("a click is counted", 10, lambda: visitor.get(f"/a/{partner_id}").said == "counted")


def check_redirects(seen: Seen) -> None:
    """Everybody is redirected, and hardly anybody is told that nothing is promised: a disk may be slow for a moment."""
    assert len(seen.counted) > 20, seen
    assert set(seen.said) <= {"302 counted", "302 not-recorded"}, seen.said
    assert seen.said["302 not-recorded"] <= seen.said["302 counted"] / 5, seen.said


def check_conversions(seen: Seen, must_refuse: bool) -> None:
    """They are refused, in bounded time, and told when to try again; or they are accepted."""
    for call in seen.conversions:
        assert call.answer.status == 503 or (call.answer.status == 201 and not must_refuse), call.answer
        assert call.took_s < REDIS_SECONDS + 1 + seen.bystander_s, call
        if call.answer.status == 503:
            assert int(call.answer.headers["Retry-After"]) > 0


def repeat_conversions(world: World, seen: Seen) -> None:
    """The same call again does it, or says that it was done."""
    for call in seen.conversions:
        answer = poll(f"{call.body} is taken", 10, lambda call=call: _taken(world.call(call.path, call.body)))
        assert answer.headers["Idempotent-Replay"] == ("true" if answer.status == 200 else None)


def _taken(answer: Answer) -> Answer | None:
    return answer if answer.status in (200, 201) else None


def test_redis_and_the_disk_refuse_and_the_worker_recovers_by_itself(world: World) -> None:
    """The only loss there may be: said in the answer, and counted."""
    seen = begin(world, "full disk")
    lost_before = world.metric("lasttouch_lost_clicks_total")
    REFUSING(world)
    for pid in world.workers():
        limit_file_size(pid, 0)
    world.visit(seen)
    assert set(seen.said) == {"302 not-recorded"} and seen.counted == []
    assert spooled_count(world.spool) == 0
    assert list(world.spool.glob("*.spool")) == [], "what could not be written leaves nothing behind"
    assert world.metric("lasttouch_lost_clicks_total") - lost_before == seen.said.total()
    check_conversions(seen, must_refuse=True)

    for pid in world.workers():
        limit_file_size(pid, -1)
    seen.said.clear()
    world.visit(seen)
    check_redirects(seen)
    assert spooled_count(world.spool) >= len(seen.counted)
    HONESTLY(world)
    poll("the spool is delivered", DELIVERED_SECONDS, world.is_delivered)
    repeat_conversions(world, seen)


def test_a_signup_before_the_delivery_is_corrected_after_it(world: World) -> None:
    """R16: the signup's answer is what is known then; what waits on disk is the newer click."""
    seen, older = begin(world, "late"), world.journey.id("before")
    visitor = Visitor(world.server)
    click(visitor, older)
    REFUSING(world)
    click(visitor, seen.partner_id)
    assert spooled_count(world.spool) > 0
    # Whoever holds a segment's lock delivers it. The workers that wrote them die, and here nobody does for a while.
    holding = [path.open("rb") for path in world.spool.glob("*.spool")]
    for pid in world.workers():
        os.kill(pid, signal.SIGKILL)
    for file in holding:
        fcntl.flock(file, fcntl.LOCK_EX)
    HONESTLY(world)

    license_id = f"{seen.partner_id}-L2"
    signup = {"license_id": license_id, "product": "livechat", "visitor_id": visitor.id}
    payment = {"payment_id": license_id, "license_id": license_id, "amount_cents": 2900, "currency": "USD"}
    answer = poll("Redis takes the signup", 10, lambda: _taken(world.call("/v1/signups", signup)))
    assert answer.json["attribution"]["partner_id"] == older
    assert world.call("/v1/payments", payment).status == 201
    poll("the older partner earns", 30, lambda: earned(world, license_id).get(older) == 580)
    for file in holding:
        file.close()
    poll("the spool is delivered", DELIVERED_SECONDS, world.is_delivered)
    world.server.attributed()
    assert earned(world, license_id) == {seen.partner_id: 580}


def earned(world: World, payment_id: str) -> dict[str, int]:
    """Partner → net cents of a payment."""
    cents: Counter[str] = Counter()
    for line in world.server.lines(payment_id=payment_id):
        cents[line["partner_id"]] += line["amount_cents"]
    return {partner_id: amount for partner_id, amount in cents.items() if amount}


def test_in_the_end_all_that_was_counted_is_stored_once(world: World) -> None:
    pipeline = world.server.attributed()
    parts = ("stored", "duplicates", "quarantined", "pending", "spooled")
    assert pipeline["accepted"] == sum(pipeline[part] for part in parts)
    assert (pipeline["quarantined"], pipeline["pending"], pipeline["spooled"]) == (0, 0, 0)
    for name, seen in world.seen.items():
        calls = [call.body["payment_id"] for call in seen.conversions if call.path == "/v1/payments"]
        lines = Counter(line["payment_id"] for line in world.server.lines(partner_id=seen.partner_id, limit=500))
        assert {payment_id: lines[payment_id] for payment_id in calls} == dict.fromkeys(calls, 1), name
    assert world.server.stop() == 0
    assert list(world.spool.glob("*.torn")) == []
    clicks = stored_clicks(world.server)
    for name, seen in world.seen.items():
        stored = Counter(visitor_id for partner_id, visitor_id in clicks if partner_id == seen.partner_id)
        assert set(seen.counted) - set(stored) == set(), f"lost: {name}"
        assert [visitor for visitor in seen.counted if stored[visitor] != 1] == [], f"doubled: {name}"
        # One more is the visitor who signs up; of those who were not promised anything, any may be there.
        assert len(stored) - len(seen.counted) - 1 <= seen.said["302 not-recorded"], name
    audited = world.server.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr


def stored_clicks(server: Server) -> list[tuple[str, str]]:
    """Partner and visitor of every click in the stopped server's ClickHouse."""
    command = [sys.executable, "-c", STORED_CLICKS, f"chdb://{server.data / 'clickhouse'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [(partner_id, visitor_id) for partner_id, visitor_id in json.loads(done.stdout.splitlines()[-1])]
