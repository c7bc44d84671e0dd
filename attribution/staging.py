"""Staging: a load's rows in ClickHouse's memory, before those that are new are stored under the load's number.

`incoming_<table>` is like its table. Facts have the number of the row's stream and its position in front. Clicks go in
as they are in the journal, in types that are read fast: that, and storing them in a second step, costs less than
reading them into `clicks` itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from attribution.incoming import Piece, Refused
from attribution.journal_lines import FACT_TABLES, check_click
from attribution.warehouse import UnreadableRows, Warehouse, load_queries
from tracker.events import CLICK_COLUMNS

FIRST_CLICK_MS, LAST_CLICK_MS = 10**12, 10**13 - 1  # times of 13 digits: 2001 to 2286

QUERIES = load_queries(Path(__file__).with_name("queries"))


@dataclass(frozen=True, slots=True)
class Staged:
    """What staged clicks look like: whether each has an id of its own, and the span of their times."""

    are_distinct: bool
    first_ms: int
    last_ms: int


class Staging:
    """The incoming tables of a warehouse. Raises WarehouseUnavailable."""

    def __init__(self, warehouse: Warehouse, stream_numbers: Mapping[str, int]) -> None:
        """`stream_numbers`: stream → a number of its own, for the rows."""
        self._warehouse = warehouse
        self._stream_numbers = stream_numbers

    def prepare(self) -> None:
        """Make the incoming tables, empty, after the present schema; what a dead load left in them is dropped."""
        self._warehouse.run(QUERIES["loader_drop_incoming"], incoming="incoming_clicks")
        self._warehouse.run(QUERIES["loader_create_incoming_clicks"])
        for fact in FACT_TABLES.values():
            self._warehouse.run(QUERIES["loader_drop_incoming"], incoming=f"incoming_{fact.table}")
            self._warehouse.run(QUERIES["loader_create_incoming"], incoming=f"incoming_{fact.table}", table=fact.table)

    def store_clicks(self, pieces: Sequence[Piece], load_id: int, is_again: bool) -> tuple[Counter[str], list[Refused]]:
        """Store the clicks whose id is not there yet. `is_again`: the load may have stored some of them before.

        Returns how many of them this load has stored, by stream, and those that could not be read.
        """
        staged = self._stage_clicks(pieces)
        refused: list[Refused] = []
        if staged is None:
            pieces, refused = self._stage_readable_clicks(pieces)
            staged = _staged(self._look())
        if is_again or not staged.are_distinct or self._are_known():
            self._warehouse.run(QUERIES["loader_store_new_clicks"], load_id=load_id)
            stored = self._stored_clicks(pieces, load_id)
        else:
            self._warehouse.run(QUERIES["loader_store_clicks"], load_id=load_id)
            stored = Counter()
            for stream, clicks in _runs(pieces):
                stored[stream] += clicks
        if not is_again:
            self._count_days(load_id, staged.first_ms, staged.last_ms)
        self._warehouse.run(QUERIES["loader_empty_incoming"], incoming="incoming_clicks")
        return stored, refused

    def count_days_again(self, load_id: int) -> None:
        """Count by day the clicks of a load that was begun before, unless that was done then."""
        if self._warehouse.rows(QUERIES["loader_counted_days"])[0]["load_id"] < load_id:
            self._count_days(load_id, FIRST_CLICK_MS, LAST_CLICK_MS)

    def _count_days(self, load_id: int, first_ms: int, last_ms: int) -> None:
        self._warehouse.run(QUERIES["loader_count_days"], load_id=load_id, first_ms=first_ms, last_ms=last_ms)

    def _stage_clicks(self, pieces: Sequence[Piece]) -> Staged | None:
        """Stage clicks as they come. None, and nothing is staged, when some of them cannot be read, or ClickHouse read
        what is no click: one without an id or with another kind of time."""
        try:
            self._warehouse.insert_bytes("incoming_clicks", CLICK_COLUMNS, _click_lines(pieces), "TSV")
        except UnreadableRows:
            return None
        look = self._look()
        if look["without_id"] or look["first_at"] < FIRST_CLICK_MS or look["last_at"] > LAST_CLICK_MS:
            self._warehouse.run(QUERIES["loader_empty_incoming"], incoming="incoming_clicks")
            return None
        return _staged(look)

    def _look(self) -> dict[str, Any]:
        return self._warehouse.rows(QUERIES["loader_look_at_clicks"])[0]

    def _stage_readable_clicks(self, pieces: Sequence[Piece]) -> tuple[list[Piece], list[Refused]]:
        """Stage those clicks that can be read, line by line. Returns them, in the order of the rows, and the others."""
        lines: list[Piece] = []
        refused: list[Refused] = []
        for line in (line for piece in pieces for line in piece.lines()):
            try:
                check_click(line.data)
                lines.append(line)
            except ValueError as error:
                refused.append(Refused(line, str(error), 1))
        refused += self._insert_readable("incoming_clicks", CLICK_COLUMNS, lines, _click_lines, "TSV")
        unreadable = {item.quarantine_id for item in refused}
        return [line for line in lines if Refused(line, "", 1).quarantine_id not in unreadable], refused

    def _are_known(self) -> bool:
        """Whether some staged clicks have an id that is stored already."""
        return bool(self._warehouse.rows(QUERIES["loader_known_clicks"])[0]["known"])

    def _stored_clicks(self, pieces: Sequence[Piece], load_id: int) -> Counter[str]:
        """Stream → how many of the staged clicks were stored by this load. `pieces` are in the order of the rows."""
        runs = _runs(pieces)
        ends = list(accumulate(clicks for _, clicks in runs))
        stored: Counter[str] = Counter()
        for row in self._warehouse.rows(QUERIES["loader_count_clicks"], load_id=load_id, ends=ends):
            stored[runs[row["run"] - 1][0]] += row["stored"]
        return stored

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

    def _fact_lines(self, pieces: Sequence[Piece]) -> bytes:
        """JSONEachRow: the stream's number and the position, by which the first of a repeated id wins, go last."""
        parts = []
        for position, piece in enumerate(pieces):
            body = piece.data.rstrip().removesuffix(b"}")
            number = self._stream_numbers[piece.entry.stream]
            parts.append(b'%s,"stream_number":%d,"position":%d}\n' % (body, number, position))
        return b"".join(parts)


def _staged(look: Mapping[str, Any]) -> Staged:
    return Staged(look["ids"] == look["clicks"], look["first_at"], look["last_at"])


def _click_lines(pieces: Sequence[Piece]) -> bytes:
    """TabSeparated, as it is in the journal."""
    return b"\n".join([*(piece.data for piece in pieces), b""])


def _runs(pieces: Sequence[Piece]) -> list[tuple[str, int]]:
    """Stretches of pieces of one stream: the stream, and how many lines they have."""
    return [
        (stream, sum(piece.line_count for piece in run))
        for stream, run in groupby(pieces, lambda piece: piece.entry.stream)
    ]
