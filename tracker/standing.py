"""A partner's standing over time: joined, suspended, reinstated, rates of their own (R1, R10, R11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracker.program import Program


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """A `suspended` or `reinstated`. Changes of one moment are ordered by event id."""

    occurred_at: int
    event_id: str
    kind: str


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """Rates of a partner's own, in hundredths of a percent, from `occurred_at` to before `until`."""

    occurred_at: int
    event_id: str
    first_tier_hundredths: int
    second_tier_hundredths: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the rules need to know of one partner. `changes` and `rates` are in ascending order.

    Times are milliseconds since 1970. Where two changes share a moment, the greater event id decides.
    """

    partner_id: str
    joined_at: int
    email_hash: str
    changes: tuple[Change, ...] = ()
    rates: tuple[Rate, ...] = ()

    def suspended_at(self, moment: int) -> bool:
        """R11: the newest change at or before the moment decides."""
        kind = "reinstated"
        for change in self.changes:
            if change.occurred_at > moment:
                break
            kind = change.kind
        return kind == "suspended"

    def active_at(self, moment: int) -> bool:
        """R1: joined and not suspended."""
        return self.joined_at <= moment and not self.suspended_at(moment)

    def percent_at(self, tier: int, moment: int, program: Program) -> int:
        """R10: the percent in force at a moment for `tier` 1 or 2, in hundredths.

        A newer rate replaces an older one for good: after its end the program's rates apply.
        """
        newest: Rate | None = None
        for rate in self.rates:
            if rate.occurred_at > moment:
                break
            newest = rate
        if newest is None or (newest.until is not None and newest.until <= moment):
            return program.first_tier_percent_hundredths if tier == 1 else program.second_tier_percent_hundredths
        return newest.first_tier_hundredths if tier == 1 else newest.second_tier_hundredths


def standing(
    partner_id: str, joined_at: int, email_hash: str, changes: Iterable[Change] = (), rates: Iterable[Rate] = ()
) -> Standing:
    """A Standing from changes and rates in any order."""
    return Standing(partner_id, joined_at, email_hash, tuple(sorted(changes)), tuple(sorted(rates, key=_rate_order)))


def _rate_order(rate: Rate) -> tuple[int, str]:
    return rate.occurred_at, rate.event_id
