"""Findings: what an audit lists. All are counted, the first of each kind are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_LISTED = 1_000
"""Findings of one kind that are listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at. `kind` says what is wrong, `subject` is the id that it is about."""

    kind: str
    subject: str
    detail: str


@dataclass(slots=True)
class Findings:
    """What was found so far. A kind that was looked for is counted, also where nothing was found."""

    counts: Counter[str] = field(default_factory=Counter)
    listed: list[Finding] = field(default_factory=list)

    def add(self, kind: str, found: Iterable[tuple[str, str]]) -> None:
        """Subjects and details of one kind."""
        self.counts.setdefault(kind, 0)
        for subject, detail in found:
            self.counts[kind] += 1
            if self.counts[kind] <= MAX_LISTED:
                self.listed.append(Finding(kind, subject, detail))

    def add_rows(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of a query: `subject`, `detail`, and `findings`, how many there are beyond those that it was cut to."""
        self.counts[kind] += rows[0]["findings"] if rows else 0
        self.listed.extend(Finding(kind, row["subject"], row["detail"]) for row in rows)
