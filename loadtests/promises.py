"""What callers sent while processes were killed, and what they were told: the promises that must have been kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SentClick:
    """A click or a touch that was sent once. It is known again by its `mark`, the `sub` of its query.

    `visitor_id` is None where no answer told it. `is_promised`: it was answered `counted`, or a touch 204.
    """

    mark: str
    partner_id: str
    visitor_id: str | None
    is_promised: bool


@dataclass(frozen=True, slots=True)
class SentFact:
    """A fact of the Conversions API, sent as often as it took, and what must be stored of it, by column.

    `is_promised`: it was answered 2xx in the end.
    """

    kind: str
    fact_id: str
    says: Mapping[str, Any]
    is_promised: bool


class Promises:
    """All that was sent, by many threads at once."""

    def __init__(self) -> None:
        self.clicks: list[SentClick] = []
        self.facts: list[SentFact] = []
        self.answers: Counter[str] = Counter()
        """Answers by what they said, `redirect 302 counted`; and `no answer` where there was none."""
        self.wrong: list[str] = []
        """Answers that nobody may ever get, whatever is killed."""
        self._counting = threading.Lock()

    def answered(self, call: str, said: str) -> None:
        with self._counting:
            self.answers[f"{call}: {said}"] += 1

    def counts(self) -> dict[str, int]:
        """How much was sent and promised."""
        return {
            "clicks_sent": len(self.clicks),
            "clicks_promised": sum(click.is_promised for click in self.clicks),
            "facts_sent": len(self.facts),
            "facts_promised": sum(fact.is_promised for fact in self.facts),
        }
