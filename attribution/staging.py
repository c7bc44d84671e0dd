"""Staging: a load's rows in ClickHouse's memory, before those that are new are stored under the load's number.

`incoming_<table>` is like its table, with the number of the row's stream and its position in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attribution.incoming import Piece, Refused
from attribution.journal_lines import FACT_TABLES, check_click
from attribution.warehouse import UnreadableRows, Warehouse, load_queries
from tracker.events import CLICK_COLUMNS

QUERIES = load_queries(Path(__file__).with_name("queries"))


class Staging:
    """The incoming tables of a warehouse. Raises WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, stream_numbers: Mapping[str, int]) -> None:
        """`stream_numbers`: stream → a number of its own, for the rows."""
        self._warehouse = warehouse
        self._stream_numbers = stream_numbers

    def prepare(self) -> None:
        """Make the incoming tables, empty, after the present schema; what a dead load left in them is dropped."""
        for table in ("clicks", *(fact.table for fact in FACT_TABLES.values())):
            self._warehouse.run(QUERIES["loader_drop_incoming"], incoming=f"incoming_{table}")
            self._warehouse.run(QUERIES["loader_create_incoming"], incoming=f"incoming_{table}", table=table)

    def store_clicks(self, pieces: Sequence[Piece], load_id: int) -> list[Refused]:
        """Store the clicks whose id is not there yet; returns those that could not be read."""
        refused: list[Refused] = []
        columns = ["stream_number", *CLICK_COLUMNS]
        try:
            self._warehouse.insert_bytes("incoming_clicks", columns, self._click_lines(pieces), "TSV")
        except UnreadableRows:
            readable: list[Piece] = []
            for line in (line for piece in pieces for line in piece.lines()):
                try:
                    check_click(line.data)
                    readable.append(line)
                except ValueError as error:
                    refused.append(Refused(line, str(error), 1))
            refused += self._insert_readable("incoming_clicks", columns, readable, self._click_lines, "TSV")
        self._warehouse.run(QUERIES["loader_store_clicks"], load_id=load_id)
        return refused

    def store_facts(self, kind: str, pieces: Sequence[Piece], load_id: int) -> list[Refused]:
        """Store the facts of one type whose id is not there yet; returns those that could not be read."""
        fact = FACT_TABLES[kind]
        incoming = f"incoming_{fact.table}"
        columns = ["stream_number", "position", *fact.kinds]
        refused = self._insert_readable(incoming, columns, pieces, self._fact_lines, "JSONEachRow")
        self._warehouse.run(
            QUERIES["loader_store_facts"], table=fact.table, incoming=incoming, id=fact.id_column, load_id=load_id
        )
        self._warehouse.run(QUERIES["loader_empty_incoming"], incoming=incoming)
        return refused

    def stored_clicks(self, load_id: int) -> dict[int, int]:
        """Stream number → how many of the staged clicks were stored by this load; then the stage is emptied."""
        rows = self._warehouse.rows(QUERIES["loader_count_clicks"], load_id=load_id)
        self._warehouse.run(QUERIES["loader_empty_incoming"], incoming="incoming_clicks")
        return {row["stream_number"]: row["stored"] for row in rows}

    def stored_rows(self, table: str, load_id: int) -> int:
        """How many rows of a fact table carry the load's number."""
        count: int = self._warehouse.rows(QUERIES["loader_count_rows"], table=table, load_id=load_id)[0]["stored"]
        return count

    def _insert_readable(
        self,
        incoming: str,
        columns: Sequence[str],
        pieces: Sequence[Piece],
        lines: Callable[[Sequence[Piece]], bytes],
        format: str,
    ) -> list[Refused]:
        """Insert single-line pieces; where ClickHouse refuses some, halve them until the culprits are alone."""
        try:
            self._warehouse.insert_bytes(incoming, columns, lines(pieces), format)
        except UnreadableRows as error:
            if len(pieces) == 1:
                return [Refused(pieces[0], str(error), 1)]
            middle = len(pieces) // 2
            halves = (pieces[:middle], pieces[middle:])
            return [
                refused for half in halves for refused in self._insert_readable(incoming, columns, half, lines, format)
            ]
        return []

    def _click_lines(self, pieces: Sequence[Piece]) -> bytes:
        """TabSeparated: the stream's number goes before a click's own cells."""
        parts = []
        for piece in pieces:
            prefix = b"%d\t" % self._stream_numbers[piece.entry.stream]
            parts.append(prefix + piece.data.replace(b"\n", b"\n" + prefix) + b"\n")
        return b"".join(parts)

    def _fact_lines(self, pieces: Sequence[Piece]) -> bytes:
        """JSONEachRow: the stream's number and the position, by which the first of a repeated id wins, go last."""
        parts = []
        for position, piece in enumerate(pieces):
            body = piece.data.rstrip().removesuffix(b"}")
            number = self._stream_numbers[piece.entry.stream]
            parts.append(b'%s,"stream_number":%d,"position":%d}\n' % (body, number, position))
        return b"".join(parts)
