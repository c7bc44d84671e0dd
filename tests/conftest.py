"""The real stores for every test: a redis-server of our own and the embedded ClickHouse engine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from attribution.warehouse import Warehouse
from tests.databases import Shape, empty, forget_beside, shape_of
from tracker.redis_server import find_redis_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A redis-server on a unix socket with the AOF on, as in production; ends with the session."""
    with tempfile.TemporaryDirectory(prefix="lt-redis-") as folder:
        socket = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(socket)]
        process = subprocess.Popen(
            [find_redis_server()[0], *options, "--dir", folder, "--save", "", "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(unix_socket_path=str(socket))
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("redis-server did not start within 20 seconds") from None
                time.sleep(0.02)
        client.close()
        yield f"unix://{socket}"
        process.terminate()
        process.wait(10)


@pytest.fixture
def empty_redis_url(redis_url: str) -> Iterator[str]:
    """The session's Redis, emptied before the test."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    client.close()
    yield redis_url


@pytest.fixture(scope="session")
def clickhouse_url() -> Iterator[str]:
    """The embedded engine's data folder: chDB allows one per process."""
    folder = tempfile.mkdtemp(prefix="lt-chdb-")
    # While somebody holds it open, the engine stays up: else it would start anew for every test.
    anchor = Warehouse.open(f"chdb://{folder}", "anchor")
    yield f"chdb://{folder}"
    anchor.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def spare_warehouses() -> Iterator[list[tuple[Warehouse, Shape]]]:
    """Warehouses that a test has left as it found them, emptied, with their schema: to make one takes half a second."""
    spares: list[tuple[Warehouse, Shape]] = []
    yield spares
    for spare, _ in spares:
        spare.close()


@pytest.fixture
def warehouse(clickhouse_url: str, spare_warehouses: list[tuple[Warehouse, Shape]]) -> Iterator[Warehouse]:
    """A warehouse with the whole schema and without any row, in a database of the test's own."""
    if spare_warehouses:
        opened, shape = spare_warehouses.pop()
    else:
        opened = Warehouse.open(clickhouse_url, database=f"test_{uuid.uuid4().hex[:12]}")
        opened.migrate()
        shape = shape_of(opened)
    yield opened
    if shape_of(opened) == shape:
        forget_beside(opened)
        empty(opened)
        spare_warehouses.append((opened, shape))
    else:
        opened.drop()
        opened.close()


@pytest.fixture
def anyio_backend() -> str:
    """Async tests (`@pytest.mark.anyio`) run on asyncio."""
    return "asyncio"
