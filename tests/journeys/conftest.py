"""One real server for all journeys; each journey has ids of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Journey, Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lt-serve-") as folder:
        yield from serving(Path(folder))


@pytest.fixture
def journey(server: Server) -> Journey:
    return Journey(server)
