"""The data centers' stores: clients' personal data live there and nowhere else (R20)."""

from __future__ import annotations

from collections.abc import Iterable

from attribution.warehouse import Warehouse, open_client_store
from tracker import redis_keys


class ClientStores:
    """Opens the store of a data center when it is first asked for. Raises WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, data_centers: Iterable[str]) -> None:
        self._warehouse = warehouse
        self._opened: dict[str, Warehouse] = {}
        self.streams: dict[str, str] = {redis_keys.client_journal(name): name for name in data_centers}
        """Journal stream → data center."""

    def of_stream(self, stream: str) -> Warehouse:
        """Where rows of a journal stream belong: a data center's store, or the main database."""
        data_center = self.streams.get(stream)
        return self._warehouse if data_center is None else self.of(data_center)

    def of(self, data_center: str) -> Warehouse:
        if data_center not in self._opened:
            self._opened[data_center] = open_client_store(self._warehouse, data_center)
        return self._opened[data_center]

    def all(self) -> list[Warehouse]:
        """The main database and every data center's store."""
        return [self._warehouse, *(self.of(name) for name in self.streams.values())]
