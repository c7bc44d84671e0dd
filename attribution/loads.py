"""The table `loads`: which journal entries a load took, what became of them, and the sums over all time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attribution.journal_streams import Span
from attribution.staging import QUERIES
from attribution.warehouse import Warehouse

_LOAD_COLUMNS = ("load_id", "stream", "first_id", "last_id", "is_finished")
_COUNT_COLUMNS = ("stored", "duplicates", "quarantined")


@dataclass(slots=True)
class Counts:
    """Facts of one or of all streams, over all time, by what became of them."""

    stored: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)

    def loaded(self, stream: str) -> int:
        return sum(self.of(stream))

    def of(self, stream: str) -> tuple[int, int, int]:
        return self.stored[stream], self.duplicates[stream], self.quarantined[stream]

    def add(self, other: Counts) -> None:
        for mine, others in (
            (self.stored, other.stored),
            (self.duplicates, other.duplicates),
            (self.quarantined, other.quarantined),
        ):
            for stream, facts in others.items():
                mine[stream] += facts

    def totals(self) -> dict[str, int]:
        """Over all streams, by what became of them."""
        return {name: getattr(self, name).total() for name in _COUNT_COLUMNS}


@dataclass(frozen=True, slots=True)
class Loads:
    """What the table `loads` tells: where loading stands. Numbers are 0 where there was no load."""

    sums: Counts
    newest: int
    newest_finished: int
    finished: tuple[Span, ...]
    """What the newest finished load took."""
    unfinished: tuple[Span, ...]
    """What a load took that was begun and not finished: the newest."""


def read_loads(warehouse: Warehouse) -> Loads:
    rows = warehouse.rows(QUERIES["loader_loads"])
    finished = [row for row in rows if row["is_finished"]]
    unfinished = [row for row in rows if not row["is_finished"]]
    return Loads(
        Counts(*(Counter({row["stream"]: row[f"{name}_sum"] for row in finished}) for name in _COUNT_COLUMNS)),
        max((row["load_id"] for row in rows), default=0),
        max((row["load_id"] for row in finished), default=0),
        _spans_of_rows(finished),
        _spans_of_rows(unfinished),
    )


def begin_load(warehouse: Warehouse, load_id: int, spans: Sequence[Span], now_ms: int) -> None:
    """Write down what a load will take."""
    rows = [[load_id, span.stream, span.first_id, span.last_id, 0, now_ms] for span in spans]
    warehouse.insert("loads", [*_LOAD_COLUMNS, "written_at"], rows)


def finish_load(
    warehouse: Warehouse,
    load_id: int,
    streams: Sequence[str],
    spans: Sequence[Span],
    counts: Counts,
    sums: Counts,
    now_ms: int,
) -> None:
    """Write a load's counts and every stream's sums, in one insert: the load is finished or it is not."""
    taken = {span.stream: span for span in spans}
    rows: list[list[object]] = []
    for stream in streams:
        span = taken.get(stream, Span(stream, "", ""))
        numbers = (*counts.of(stream), *sums.of(stream))
        rows.append([load_id, stream, span.first_id, span.last_id, 1, *numbers, now_ms])
    columns = [*_LOAD_COLUMNS, *_COUNT_COLUMNS, *(f"{name}_sum" for name in _COUNT_COLUMNS), "written_at"]
    warehouse.insert("loads", columns, rows)


def _spans_of_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[Span, ...]:
    return tuple(Span(row["stream"], row["first_id"], row["last_id"]) for row in rows if row["first_id"])
