"""A warehouse that writes nothing once its process's lease is gone.

A process that was stopped for longer than a lease lives, by the machine or by somebody, wakes in the middle of a load
or a round that another process has done meanwhile. Every statement that writes asks first whether it is still this
process's turn; by a clock that goes on while the machine is suspended, so that who was stopped knows as soon as it
wakes. What ClickHouse was already told goes on: it was told in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attribution.warehouse import Warehouse


class FencedWarehouse(Warehouse):
    """`warehouse`, in which each write calls `require` first, and does not happen where that raises; siblings' too."""

    def __init__(self, warehouse: Warehouse, require: Callable[[], None]) -> None:
        self._inner = warehouse
        self._require = require
        self.database = warehouse.database

    def sibling(self, database: str) -> Warehouse:
        return FencedWarehouse(self._inner.sibling(database), self._require)

    def rows(self, query: str, /, **parameters: object) -> list[dict[str, Any]]:
        return self._inner.rows(query, **parameters)

    def run(self, query: str, /, **parameters: object) -> None:
        self._require()
        self._inner.run(query, **parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._require()
        self._inner.insert(table, columns, rows)

    def insert_bytes(self, table: str, columns: Sequence[str], data: bytes, format: str) -> None:
        self._require()
        self._inner.insert_bytes(table, columns, data, format)

    def close(self) -> None:
        self._inner.close()
