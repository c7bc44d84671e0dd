"""The app with the real stores and the history of world.py."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import redis
import world
from running_app import App, Serving

from attribution.warehouse import Warehouse


@pytest.fixture(scope="module")
def app(redis_url: str, clickhouse_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with the history of world.py, for the tests of a module."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    warehouse = Warehouse.open(clickhouse_url, database=f"reports_{uuid.uuid4().hex[:10]}")
    warehouse.migrate()
    world.load(warehouse, *world.HISTORY)
    data = tmp_path_factory.mktemp("data")
    serving = Serving(redis_url, warehouse, data)
    try:
        yield App(serving.port, warehouse, client, redis_url, data, serving.tokens)
    finally:
        serving.stop()
        warehouse.drop()
        warehouse.close()
        client.close()
