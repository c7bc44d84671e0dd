"""ClickHouse: the record of every fact. The only importer of clickhouse_connect.

Embedded (`chdb:///path`, one engine per process) and server (`http(s)://…`) go through the same client, so SQL and
code are one. Errors:

    Unavailable
    └── WarehouseUnavailable   ClickHouse does not answer, or cannot take more now; the same call may work later
    LasttouchError
    ├── UnreadableRows         an insert's bytes hold at least one row that ClickHouse cannot parse; nothing was written
    └── QueryFailed            ClickHouse understood us and refused: a mistake in our SQL or schema
"""

from __future__ import annotations

import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.datatypes.base import ClickHouseType
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, InterfaceError, OperationalError

from tracker.errors import LasttouchError, Unavailable

_SCHEMA = Path(__file__).with_name("schema")
_INCLUDE = re.compile(r"\(include ([a-z_]+)\)")
_DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)

# Every session's settings: times without a zone are UTC, bytes of JSON lines may carry fields that are not columns,
# a mutation is done when its statement returns, an insert is a block of its own that waits for no others, and a CTE
# that says `materialized` is read once however often it is used.
_SESSION: dict[str, Any] = {
    "session_timezone": "UTC",
    "input_format_null_as_default": 1,
    "input_format_skip_unknown_fields": 1,
    "mutations_sync": 2,
    "async_insert": 0,
    "enable_materialized_cte": 1,
}

# ClickHouse's error codes for text that does not parse (src/Common/ErrorCodes.cpp).
_UNREADABLE = frozenset(
    {6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349, 376, 407, 441, 467, 675}
)
# … and for a ClickHouse that is there but cannot serve now: limits, time-outs, network, disk, read-only, start-up.
_TRANSIENT = frozenset({74, 75, 159, 164, 202, 209, 210, 236, 241, 242, 243, 252, 279, 319, 394, 425, 439, 999, 1002})

Result = TypeVar("Result")


class WarehouseUnavailable(Unavailable):
    """ClickHouse does not answer, or answers that it cannot serve now."""


class UnreadableRows(LasttouchError):
    """At least one row of an insert cannot be parsed; none of its rows was written. The message is ClickHouse's."""


class QueryFailed(LasttouchError):
    """ClickHouse refused a statement. The message is ClickHouse's."""


class Warehouse:
    """One database of one ClickHouse, for use from any thread: every thread has a client of its own."""

    def __init__(self, connect: Callable[[str | None], Client], database: str) -> None:
        """Use `open` or `sibling`. `connect` makes a client for a database (None: none yet)."""
        self._connect = connect
        self.database = database
        self._local = threading.local()
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()
        self._types: dict[tuple[str, tuple[str, ...]], Sequence[ClickHouseType]] = {}

    @classmethod
    def open(cls, url: str, database: str = "lasttouch") -> Warehouse:
        """The database at `url`, created if it is missing. WarehouseUnavailable when ClickHouse can't be reached."""
        warehouse = cls(partial(_connect, url), _checked_name(database))
        warehouse._create_database()
        return warehouse

    def sibling(self, database: str) -> Warehouse:
        """Another database of the same ClickHouse, created if it is missing."""
        other = Warehouse(self._connect, _checked_name(database))
        other._create_database()
        return other

    def _create_database(self) -> None:
        """Create the database where it is missing, and keep the client for the calling thread: an embedded engine
        stops and starts again when its last client is closed."""

        def create() -> None:
            client = self._connect(None)
            client.command("create database if not exists {name:Identifier}", parameters={"name": self.database})
            client.database = self.database
            self._keep(client)

        _translating(create)

    def migrate(self, folder: Path = _SCHEMA) -> None:
        """Apply the numbered files of `folder` that this database has not seen, in order; see migration.py."""
        from attribution.migration import migrate

        migrate(self, folder)

    def rows(self, query: str, /, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a select, as dicts by column name. UUIDs come as canonical text."""
        return _translating(
            lambda: list(
                self._client.query(query, parameters=parameters, query_formats={"UUID": "string"}).named_results()
            )
        )

    def run(self, query: str, /, **parameters: object) -> None:
        """A statement without a result: insert … select, alter, truncate."""
        _translating(lambda: self._client.command(query, parameters=parameters, settings=self._signature))

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert Python rows. A time is an integer of milliseconds. One call is one block: whole or not at all."""
        if rows:
            _translating(lambda: self._insert(table, tuple(columns), rows))

    def _insert(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[object]]) -> None:
        """An insert, without asking again which types the columns have: that costs half as much as a small insert."""
        client, key = self._client, (table, columns)
        types = self._types.pop(key, None)
        if types is None:
            types = client.create_insert_context(table, column_names=columns).column_types
        client.insert(table, rows, column_names=columns, column_types=types, settings=self._signature)
        self._types[key] = types  # only after it worked: whatever was wrong, the next one asks

    def insert_bytes(self, table: str, columns: Sequence[str], data: bytes, format: str) -> None:
        """Insert raw `TSV` or `JSONEachRow`. Raises UnreadableRows, and writes nothing, when a row does not parse.

        That nothing is written holds for Memory tables and for what fits into one block; larger inserts into
        other tables may have written their first blocks.
        """
        if data:
            _translating(
                lambda: self._client.raw_insert(table, list(columns), data, settings=self._signature, fmt=format)
            )

    @contextmanager
    def signed(self, signature: str) -> Iterator[None]:
        """What the calling thread writes meanwhile bears a signature (`log_comment`): ClickHouse knows it by that while
        it is under way."""
        self._local.signature = signature
        try:
            yield
        finally:
            self._local.signature = ""

    @property
    def _signature(self) -> dict[str, Any]:
        signature = getattr(self._local, "signature", "")
        return {"log_comment": signature} if signature else {}

    def drop(self) -> None:
        """Drop the database: for tests and scratch."""
        self.run("drop database if exists {database:Identifier}", database=self.database)

    def close(self) -> None:
        """Close the clients of all threads. A later call opens new ones."""
        clients, self._local = list(self._clients), threading.local()
        self._clients.clear()
        for client in clients:
            with suppress(ClickHouseError):
                client.close()

    @property
    def _client(self) -> Client:
        """The calling thread's client; its thread's end closes it."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._keep(self._connect(self.database))
        return client

    def _keep(self, client: Client) -> Client:
        self._local.client = client
        self._clients.add(client)
        return client


def load_queries(folder: Path) -> Mapping[str, str]:
    """The statements of a folder: file stem → SQL. What several of them say is in its folder `parts`, a select a file:
    `(include name)` stands for that of `parts/name.sql`, which may read what the statement names before."""

    def sql(path: Path) -> str:
        text = path.read_text().rstrip().removesuffix(";")
        return _INCLUDE.sub(lambda found: f"(\n{sql(folder / 'parts' / f'{found[1]}.sql')}\n)", text)

    return {path.stem: sql(path) for path in sorted(folder.glob("*.sql"))}


def open_client_store(warehouse: Warehouse, data_center: str) -> Warehouse:
    """The database of a data center's clients (R20), `<main>_us_south1`, migrated. It is never the main database."""
    store = warehouse.sibling(f"{warehouse.database}_{data_center.replace('-', '_')}")
    store.migrate(_SCHEMA / "clients")
    return store


def _checked_name(database: str) -> str:
    if not _DATABASE_NAME.fullmatch(database):
        raise ValueError(f"{database!r} cannot be a database's name: letters, digits and _, at most 63")
    return database


def _connect(url: str, database: str | None) -> Client:
    # Its errors become ours, and ours are logged by those who know what they were about.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        Path(parts.path).mkdir(parents=True, exist_ok=True)
        return clickhouse_connect.get_client(interface="chdb", path=parts.path, database=database, settings=_SESSION)
    return clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname or "localhost",
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else "",
        database=database,
        settings=_SESSION,
        autogenerate_session_id=False,
        form_encode_query_params=True,
        query_retries=0,
    )


def _translating(call: Callable[[], Result]) -> Result:
    """`call`'s result, with clickhouse_connect's errors as ours."""
    try:
        return call()
    except DatabaseError as error:
        line = next((part.strip() for part in str(error).splitlines() if part.strip()), type(error).__name__)
        if error.code in _UNREADABLE:
            raise UnreadableRows(line) from error
        if error.code in _TRANSIENT:
            raise WarehouseUnavailable(f"ClickHouse cannot serve now: {line}") from error
        if error.code is None and "chdb engine" in line:
            raise WarehouseUnavailable(f"the embedded ClickHouse does not open: {line}") from error
        if error.code is None and isinstance(error, OperationalError):
            raise WarehouseUnavailable(f"ClickHouse does not answer: {_root(error)}") from error
        raise QueryFailed(line) from error
    except (InterfaceError, OSError) as error:
        raise WarehouseUnavailable(f"ClickHouse does not answer: {_root(error)}") from error


def _root(error: BaseException) -> BaseException:
    """What an error comes from: the library's own words wrap it, with the whole URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
