"""Trackers that start while Redis is down: visitors are sent on, stamped, and their clicks are delivered once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from tests.harness import ADMIN_TOKEN, BROWSER, ROOT, Journey, Server, Visitor, free_port, poll, send, serving
from tracker import redis_keys
from tracker.redis_server import find_redis_server

pytestmark = pytest.mark.alone

PARTNER = {"partner_id": "P-1", "email": "p@partners.example", "name": "P"}
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


class Alone:
    """`lasttouch tracker` with a redis-server of its own, each started and killed as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.log = folder / "log"
        self.port = free_port()

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """Redis for the length of a `with`; then it dies, with its files left."""
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        process = subprocess.Popen([find_redis_server()[0], *options], stdout=subprocess.DEVNULL)
        try:
            with closing(redis.Redis(unix_socket_path=str(self.socket))) as client:
                poll("Redis answers", 20, lambda: answers(client))
                yield client
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def tracker(self) -> Iterator[None]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LASTTOUCH_")}
        environ = {**clean, "LASTTOUCH_REDIS_URL": f"unix://{self.socket}", "LASTTOUCH_ADMIN_TOKEN": ADMIN_TOKEN}
        flags = ["--data", str(self.folder / "data"), "--tracker-port", str(self.port), "--workers", "1"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lasttouch", "tracker", *flags], cwd=ROOT, env=environ, stdout=log, stderr=log
            )
        try:
            poll("the tracker is ready", 30, lambda: process.poll() is None and Server.is_ready(self.port))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    return Alone(tmp_path)


def test_a_tracker_starts_while_redis_is_down(alone: Alone) -> None:
    snapshot = alone.folder / "data" / "directory.snapshot"
    with alone.redis(), alone.tracker():
        joined = send(alone.port, "POST", "/v1/partners", PARTNER, ADMIN)
        assert joined.status == 201
    code = joined.json["links"]["livechat"]["short_url"].rpartition("/")[2]
    assert snapshot.stat().st_mode & 0o777 == 0o600
    assert b"p@partners.example" not in snapshot.read_bytes()

    with alone.tracker():
        ready = send(alone.port, "GET", "/health/ready")
        assert (ready.status, ready.json["status"]) == (200, "ready")
        assert ready.json["directory_age_seconds"] > 0
        visitors = set()
        for path in ("/a/P-1", f"/{code}", "/a/P-1/partner_program"):
            answer = send(alone.port, "GET", path, headers={"User-Agent": BROWSER})
            assert (answer.status, answer.said, answer.query["a"]) == (302, "counted", "P-1")
            assert answer.query["lt"]
            visitors.add(answer.cookie("lt_vid"))
        assert send(alone.port, "GET", "/nothing", headers={"User-Agent": BROWSER}).said == "unknown-link"
        refused = send(alone.port, "POST", "/v1/partners", {**PARTNER, "email": "q@partners.example"}, ADMIN)
        assert refused.status == 503 and refused.headers["Retry-After"]
        metrics = send(alone.port, "GET", "/metrics").body.decode()
        assert 'lasttouch_directory_partners{worker="1"} 1' in metrics
        with alone.redis() as client:
            accepted = redis_keys.JOURNAL
            poll("the clicks are delivered", 20, lambda: int(client.hget(accepted, "accepted") or 0) >= 3)
            poll("memory is Redis's", 20, lambda: is_fresh(alone.port))
            rows = [row for shard in range(redis_keys.SHARDS) for row in journaled(client, shard)]
            assert {row.split("\t")[2] for row in rows} == visitors and len(rows) == 3
            signup = {"license_id": "L", "product": "livechat", "visitor_id": visitors.pop()}
            bound = send(alone.port, "POST", "/v1/signups", signup, ADMIN)
            assert bound.json["attribution"]["partner_id"] == "P-1", "its touch came with the click"
    log = alone.log.read_text()
    assert "the directory is the snapshot's" in log and " ERROR " not in log


def is_fresh(port: int) -> bool:
    return bool(send(port, "GET", "/health/ready").json["directory_age_seconds"] < 3)


def journaled(client: redis.Redis, shard: int) -> list[str]:
    """The rows in a shard's journal."""
    entries = client.xrange(redis_keys.click_journal(shard))
    return [row for _, fields in entries for row in fields[b"clicks"].decode().splitlines()]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(tmp_path_factory.mktemp("own"))


def append_only_files(server: Server) -> list[Path]:
    return [path for path in (server.data / "redis").rglob("*") if ".aof" in path.name and path.is_file()]


def test_a_redis_that_comes_back_empty_makes_no_partner_unknown(own_server: Server) -> None:
    """All that Redis had is gone. Every click counts all the while, and the directory comes back from ClickHouse."""
    journey = Journey(own_server)
    journey.join("P")
    accepted = journey.attributed()["accepted"]
    visitor, clicks = Visitor(own_server), 0
    redis_server = next(pid for pid, command in own_server.processes().items() if "redis-server" in command)
    for path in append_only_files(own_server):
        path.unlink()
    os.kill(redis_server, signal.SIGKILL)

    def is_rebuilt() -> bool:
        nonlocal clicks
        visitor.click(journey.id("P"))
        clicks += 1
        with closing(redis.Redis(unix_socket_path=str(own_server.data / "redis" / "redis.sock"))) as client:
            return answers(client) and bool(client.exists(redis_keys.COMPLETE))

    poll("the directory is complete", 60, is_rebuilt)
    visitor.click(journey.id("P"))
    poll("nothing waits on disk", 20, lambda: own_server.pipeline()["spooled"] == 0)
    assert journey.attributed()["accepted"] == accepted + clicks + 1
    assert journey.sign_up("L", visitor_id=visitor.id)["attribution"]["partner_id"] == journey.id("P")


def test_serve_redirects_while_its_redis_cannot_start(own_server: Server) -> None:
    """Redis's files are broken until somebody mends them. Visitors do not notice, and no click is lost."""
    journey = Journey(own_server)
    journey.join("P")
    accepted = journey.attributed()["accepted"]
    own_server.stop()
    kept = {path: path.read_bytes() for path in append_only_files(own_server)}
    for path in kept:
        path.write_bytes(b"this is no append-only file\n" * 100)
    own_server.launch()
    poll("a worker is ready", 30, lambda: own_server.is_ready(own_server.tracker_port))
    visitor = Visitor(own_server)
    visitor.click(journey.id("P"))
    for path, content in kept.items():
        path.write_bytes(content)
    own_server.wait_until_ready()
    poll("nothing waits on disk", 20, lambda: own_server.pipeline()["spooled"] == 0)
    assert journey.attributed()["accepted"] == accepted + 1
    signup = journey.sign_up("L", visitor_id=visitor.id)
    assert signup["attribution"]["partner_id"] == journey.id("P")
