"""Hostile HTTP: whatever comes in over a socket, a worker neither fails nor leaks, and visitors are served meanwhile.

The worker is the real one, in a process of its own, as `lasttouch tracker` runs it. Limits in time are tested in this
process, on the same protocols with shorter ones.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import ADMIN_TOKEN, BROWSER, ROOT, Server, free_port, poll, send
from tests.serve_run import children
from tracker.fast_protocol import FastProtocol
from tracker.serving import LONGEST_HEAD_BYTES, BoundedHttpProtocol

pytestmark = pytest.mark.alone

LINK = "/a/hostile-1"
ANSWER_SECONDS = 0.04  # how long a fuzzed request is given to be answered; many never are
VISITOR_SECONDS = 0.25
IDLE_CONNECTIONS = 10_000
SPARE_FILES = 500
GROWTH_BYTES = 12_000_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Worker:
    """A tracker with one worker, and the file that its log goes to."""

    port: int
    pid: int
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def memory_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def complaints(self) -> list[str]:
        """Lines of the log that say that something of ours failed."""
        words = ("Traceback", "Exception in", "failed", " ERROR ")
        return [line for line in self.log.read_text(errors="replace").splitlines() if any(one in line for one in words)]

    def visit(self) -> float:
        """How long a visitor waits for the redirect, from connecting on, in seconds."""
        started = time.perf_counter()
        answer = send(self.port, "GET", LINK, headers={"User-Agent": BROWSER})
        assert (answer.status, answer.said) == (302, "counted")
        return time.perf_counter() - started


@pytest.fixture(scope="module")
def worker(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("hostile")
    with closing(redis.Redis.from_url(redis_url)) as client:
        client.flushall()
    port, log = free_port(), folder / "log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LASTTOUCH_")}
    environ = {**clean, "LASTTOUCH_REDIS_URL": redis_url, "LASTTOUCH_ADMIN_TOKEN": ADMIN_TOKEN}
    flags = ["--data", str(folder / "data"), "--tracker-port", str(port), "--workers", "1"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "lasttouch", "tracker", *flags], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    try:
        poll("the tracker is ready", 60, lambda: process.poll() is None and Server.is_ready(port))
        body = {"partner_id": "hostile-1", "email": "hostile@partners.example", "name": "Hostile"}
        answer = send(port, "POST", "/v1/partners", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert answer.status == 201, answer.body
        (pid,) = children(process.pid, "--listen-fd")
        yield Worker(port, pid, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test with the worker: it is the same process, serves visitors, and has nothing to complain of."""
    yield
    if "worker" in request.fixturenames:
        worker: Worker = request.getfixturevalue("worker")
        assert worker.visit() < 10
        assert Path(f"/proc/{worker.pid}").exists()
        assert worker.complaints() == []


# ── Fuzzing ───────────────────────────────────────────────────────────────────────────────────────

noise = st.binary(max_size=60)
escapes = st.lists(st.sampled_from([b"%", b"%00", b"%0d%0a", b"%ff", b"%u0041", b"&", b"=", b"+", b";", b"to=//e.vil"]))
METHODS = [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"TRACE", b"CONNECT", b"PRI", b"get", b"\xff"]
PATHS = [
    b"/a/hostile-1", b"/a/hostile-1/livechat", b"/a/", b"/a/a/a/a", b"/", b"//", b"/touch", b"/v1/signups",
    b"/v1/import", b"/v1/pipeline", b"/metrics", b"/health/ready", b"*", b"http://[::1", b"http://x:99999/a/hostile-1",
    b"/a/hostile-1?" + b"x=1&" * 3000, b"/a/hostile-1?to=https://www.livechat.com:x/", b"", b"\\a\\b", b"/%",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"ICY", b""]
NAMES = [
    b"Host", b"Cookie", b"User-Agent", b"Referer", b"X-Forwarded-For", b"Forwarded", b"X-Forwarded-Proto", b"Origin",
    b"CF-IPCountry", b"Sec-Purpose", b"DNT", b"Authorization", b"Content-Type", b"Content-Length", b"Expect",
    b"Transfer-Encoding", b"Connection", b"Upgrade", b"HTTP2-Settings", b"Range", b"", b":authority", b"X\x00Y",
]  # fmt: skip
VALUES = [
    b"", b"0", b"-1", b"18446744073709551616", b"5", b"chunked", b"chunked, chunked", b"gzip", b"close", b"upgrade",
    b"keep-alive, Upgrade", b"websocket", b"h2c", b"100-continue", b"Bearer \xff\xfe", b"Bearer " + b"x" * 500,
    b"lt_vid=0b3c1f1e-7d0a-4b8e-9a55-0123456789ab", b"lt_vid=" + b"f" * 36, b"lt_vid=" * 2000, b"=;=;,;" * 200,
    b"for=\"[::1]:x\";proto=\"", b"for=_hidden, for=unknown", b"1.2.3.4, ::ffff:1.2.3.4, x" * 50, b"https://\xe9/",
    b"application/json; charset=\xff", b"\t \t", b"a\rb", b"prefetch", b"Mozilla/5.0 " + b"(" * 400, b"[" * 600,
]  # fmt: skip
BODIES = [
    b"",
    b"{}",
    b"[" * 5000,
    b'{"visitor_id": NaN}',
    b"\xff\xfe\x00",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"fffffffff\r\n",
]


def requests(
    methods: Sequence[bytes], targets: Any, versions: Sequence[bytes], names: Sequence[bytes], values: Any
) -> st.SearchStrategy[bytes]:
    """Requests put together from parts."""
    lines = st.lists(st.tuples(st.sampled_from(names), values), max_size=6)
    return st.builds(
        lambda method, target, version, lines, body: (
            b" ".join((method, target, version))
            + b"\r\n"
            + b"".join(b"%b: %b\r\n" % line for line in lines)
            + b"\r\n"
            + body
        ),
        st.sampled_from(methods),
        targets,
        st.sampled_from(versions),
        lines,
        st.sampled_from(BODIES),
    )


paths = st.builds(lambda path, more: path + b"".join(more), st.sampled_from(PATHS), escapes)
# What the parser lets pass and the app must bear; then what may break the parser as well.
odd = requests(
    METHODS[:6],
    paths.filter(lambda path: path.startswith(b"/")),
    VERSIONS[:4],
    [name for name in NAMES[:-3] if name not in (b"Content-Length", b"Transfer-Encoding")],
    st.sampled_from([value for value in VALUES if b"\r" not in value]),
)
broken = requests(METHODS, paths | noise, VERSIONS, NAMES, st.sampled_from(VALUES) | noise)
trains = st.lists(odd, min_size=1, max_size=3).map(b"".join) | odd | broken | st.binary(max_size=400)


def answers(connection: socket.socket, seconds: float) -> bytes:
    """What comes until nothing has come for so long, or the connection is closed."""
    received = b""
    with suppress(ConnectionError):
        while select.select([connection], [], [], seconds)[0] and (more := connection.recv(65_536)):
            received += more
    return received


@settings(max_examples=250, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(sent=trains)
def test_no_request_whatever_is_answered_with_a_fault_of_ours(worker: Worker, sent: bytes) -> None:
    with worker.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(sent)
        received = answers(connection, ANSWER_SECONDS)
    assert [status for status in STATUS.findall(received) if status >= b"500"] == []
    assert b"evil" not in b"".join(re.findall(rb"location: https?://([^/?\r]*)", received))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_request_may_come_in_any_pieces(worker: Worker, size: int) -> None:
    """However it is cut, the answer is that of the whole."""
    request = b"GET %b?sub=1 HTTP/1.1\r\nHost: go.example\r\nUser-Agent: %b\r\n" % (LINK.encode(), BROWSER.encode())
    request += b"Connection: close\r\n\r\n"
    with worker.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), size):
            connection.sendall(request[start : start + size])
        assert b"x-lasttouch: counted" in answers(connection, 5)


@pytest.mark.parametrize(
    "line", [b"X-Long: %b\r\n" % (b"x" * 1000), b"X: y\r\n" * 150, b"x" * 1000], ids=["long", "many", "endless"]
)
def test_a_head_that_does_not_end_is_refused(worker: Worker, line: bytes) -> None:
    with worker.connect() as connection:
        connection.sendall(b"GET /a/hostile-1 HTTP/1.1\r\n")
        sent = 0
        while sent <= LONGEST_HEAD_BYTES and not select.select([connection], [], [], 0)[0]:
            connection.sendall(line)
            sent += len(line)
        received = answers(connection, 5)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert sent > LONGEST_HEAD_BYTES - 2 * len(line)


# ── Leaks ───────────────────────────────────────────────────────────────────────────────────────────


def abuse(worker: Worker) -> None:
    """A round of everything that one can do wrong, on some hundred connections; the same in every round."""
    known = b"GET /a/hostile-1?n=%d HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 (%d)\r\n%b\r\n\r\n"
    pieces = [
        b"", b"\r\n" * 50, b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET /a/hostile-1 HTTP/1.1\r\nX: ",
        b"GET /a/hostile-1 HTTP/1.1\r\nX: " + b"x" * 60_000, b"POST /touch HTTP/1.1\r\nContent-Length: 4000\r\n\r\n{",
        b"POST /touch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", b"POST /v1/import HTTP/1.1\r\n\r\n",
        known % (0, 0, b"Cookie: " + b"lt_vid=x;" * 500), known % (1, 1, b"Content-Length: 9") + b"x",
        *(known % (number, number % 3, b"Connection: keep-alive") * 20 for number in range(5)),
    ]  # fmt: skip
    opened = []
    for piece in pieces * 15:
        connection = worker.connect()
        opened.append(connection)
        with suppress(ConnectionError):
            connection.sendall(piece)
    for number, connection in enumerate(opened):
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # hangs up hard
        connection.close()


def test_a_worker_does_not_grow(worker: Worker) -> None:
    """Memory and open files after many rounds of abuse are what they were after the first."""

    def rounds(number: int) -> tuple[int, int]:
        for _ in range(number):
            abuse(worker)
            assert worker.visit() < SOON_SECONDS
        return worker.memory_bytes(), worker.files()

    memory, files = rounds(4)
    more_memory, _ = rounds(12)
    assert more_memory - memory < GROWTH_BYTES
    poll("connections are let go", 20, lambda: worker.files() <= files + 5)


# ── Many connections ──────────────────────────────────────────────────────────────────────────────


def served(worker: Worker, visits: int) -> None:
    """Visitors are served within time: all but a few, for the machine has other things to do too."""
    waited = sorted(worker.visit() for _ in range(visits))
    assert waited[int(visits * 0.9)] < VISITOR_SECONDS, waited


def test_visitors_do_not_notice_slowloris(worker: Worker) -> None:
    """Hundreds of connections send a byte of a head now and then."""
    head = itertools.cycle(b"GET /a/hostile-1 HTTP/1.1\r\nX-A: ")
    slow = [worker.connect() for _ in range(400)]
    try:
        for byte, _ in zip(head, range(20), strict=False):
            for connection in slow:
                connection.sendall(bytes([byte]))
            served(worker, 5)
    finally:
        for connection in slow:
            connection.close()


def test_visitors_do_not_notice_idle_connections(worker: Worker) -> None:
    """As many as the system lets us open, up to ten thousand: half of them silent, half in the middle of a head."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE_CONNECTIONS, (hard if hard != resource.RLIM_INFINITY else IDLE_CONNECTIONS * 2) - SPARE_FILES)
    idle: list[socket.socket] = []
    try:
        for number in range(count):
            idle.append(worker.connect())
            if number % 2:
                idle[-1].sendall(b"GET /a/hostile-1 HTTP/1.1\r\nHost:")
        poll("all are accepted", 20, lambda: worker.files() >= count)
        served(worker, 50)
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    poll("all are let go", 20, lambda: worker.files() < 100)
    served(worker, 20)


# ── Limits in time ────────────────────────────────────────────────────────────────────────────────

HEAD_SECONDS = 0.25
SILENCE_SECONDS = 0.3
SLOW_ANSWER_SECONDS = 0.6
SOON_SECONDS = 10
HALF = b"GET /half HTTP/1.1\r\nHost: x\r\n"


async def answer_slowly(scope: Any, receive: Any, send: Any) -> None:
    """An app that takes its time for /slow."""
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW_ANSWER_SECONDS)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=[BoundedHttpProtocol, FastProtocol])
def protocol(request: pytest.FixtureRequest) -> Any:
    """A protocol of ours with a short time limit; the fast lane stands aside, for the app has none."""
    return type("Hasty", (request.param,), {"head_seconds": HEAD_SECONDS})


@asynccontextmanager
async def hasty_server(protocol: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(
        answer_slowly,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=SILENCE_SECONDS,  # type: ignore[arg-type]
    )
    running = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        running.should_exit = True
        await serving


async def converse(protocol: Any, pieces: Sequence[bytes], pause: float = 0.0) -> tuple[list[bytes], float]:
    """Send pieces with pauses, then the last one again and again, until we are hung up on: statuses, and seconds."""
    async with hasty_server(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        started = time.perf_counter()
        reading = asyncio.create_task(reader.read())
        for piece in itertools.chain(pieces, itertools.repeat(pieces[-1] if pause else b"")):
            writer.write(piece)
            await asyncio.wait([reading], timeout=pause or SOON_SECONDS)
            if reading.done() or time.perf_counter() - started > SOON_SECONDS:
                break
        received = await asyncio.wait_for(reading, 1)
        writer.close()
    return STATUS.findall(received), time.perf_counter() - started


@pytest.mark.anyio
async def test_half_a_head_is_too_late(protocol: Any) -> None:
    statuses, seconds = await converse(protocol, [HALF])
    assert statuses == [b"408"]
    assert HEAD_SECONDS <= seconds < SOON_SECONDS


@pytest.mark.anyio
async def test_bytes_now_and_then_win_no_time(protocol: Any) -> None:
    statuses, seconds = await converse(protocol, [HALF, b"x"], pause=0.05)
    assert statuses == [b"408"]
    assert HEAD_SECONDS <= seconds < SOON_SECONDS


@pytest.mark.anyio
async def test_the_next_request_has_the_same_limit(protocol: Any) -> None:
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    statuses, _ = await converse(protocol, [whole * 2 + HALF])
    assert statuses == [b"204", b"204", b"408"]


@pytest.mark.anyio
async def test_an_answer_under_way_comes_before_the_refusal(protocol: Any) -> None:
    """Half a head behind a request that takes longer than a head may: its answer comes first, and in whole."""
    statuses, seconds = await converse(protocol, [b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + HALF])
    assert statuses == [b"204", b"408"]
    assert seconds >= SLOW_ANSWER_SECONDS


@pytest.mark.anyio
async def test_a_head_in_time_is_answered(protocol: Any) -> None:
    """The limit ends with the head: a slow answer is no slow head."""
    async with hasty_server(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"GET /slow HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.02)
        assert (await asyncio.wait_for(reader.readline(), SOON_SECONDS)).startswith(b"HTTP/1.1 204")
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nrest"],
    ids=["nothing", "empty lines", "a body that nobody reads"],
)
async def test_who_has_nothing_to_say_is_let_go(protocol: Any, sent: bytes) -> None:
    statuses, seconds = await converse(protocol, [sent])
    assert statuses == ([b"204"] if sent.startswith(b"GET") else [])
    assert SILENCE_SECONDS * 0.9 <= seconds < SOON_SECONDS
