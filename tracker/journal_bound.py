"""How much may wait in the journal for ClickHouse, and what is said when that much waits.

Clicks go to the spool once as many wait as may (journal.py), conversions have room of their own beside them: a click
can wait on a disk, a conversion cannot. docs/operating.md, "When ClickHouse is away", tells the whole order.
"""

from __future__ import annotations

from dataclasses import dataclass

JOURNAL_CLICKS = 5_000_000
# A smaller journal would have no room for two writes at a time.
LEAST_CLICKS = 1_000
LEAST_FACTS = 1_000
RETRY_AFTER_SECONDS = 10

REFUSAL = "FULL"
"""What an error of our Lua scripts begins with where the journal is full."""

JOURNAL_IS_FULL = "The journal is full until ClickHouse has loaded what waits in it; try again."
NO_ROOM_FOR_CLICKS = (
    "The journal is full until ClickHouse has loaded what waits in it, and the disk takes no more clicks; try again."
)


@dataclass(frozen=True, slots=True)
class JournalBound:
    """How many clicks may wait, and, beside them, how many other facts."""

    clicks: int = JOURNAL_CLICKS

    @property
    def opens_at_clicks(self) -> int:
        """A journal that was full takes clicks again when at most this many wait: not at every little load."""
        return min(self.clicks * 9 // 10, self.clicks - LEAST_CLICKS)

    @property
    def facts(self) -> int:
        """One for every five clicks: far more conversions than clicks ever lead to."""
        return max(self.clicks // 5, LEAST_FACTS)


DEFAULT_BOUND = JournalBound()


def is_full_refusal(error: BaseException) -> bool:
    """Whether Redis answered that the journal is full."""
    return str(error).startswith(REFUSAL)
