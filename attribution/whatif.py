"""`lasttouch whatif`: what the ledger would be under other rules over the same history, beside what it is.

Nothing is touched. The same SQL that the audit recomputes by is given other rules; rates of a partner's own (R10) are
facts and stay. The rule of who wins holds for licenses and for who recruited whom (R2, R7).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

from attribution.recomputation import recomputed
from attribution.warehouse import Warehouse
from tracker.program import Program

MAX_ROWS = 1_000_000
"""Partners and tiers that are read: far more than there are partners."""


class Winner(StrEnum):
    """Which of a visitor's countable clicks in the window wins: R2's newest, or the oldest."""

    LAST = "last"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that a what-if can change. Percents are hundredths of a percent."""

    window_days: int
    first_tier_percent_hundredths: int
    second_tier_percent_hundredths: int
    allow_self_referral: bool
    model: Winner = Winner.LAST

    @classmethod
    def of(cls, program: Program) -> Rules:
        """The program's own."""
        return cls(
            program.window_days,
            program.first_tier_percent_hundredths,
            program.second_tier_percent_hundredths,
            program.allow_self_referral,
        )

    def applied_to(self, program: Program) -> Program:
        """The program with these rules; what it cannot say is the model."""
        return replace(
            program, **{item.name: getattr(self, item.name) for item in fields(self) if item.name != "model"}
        )


@dataclass(slots=True)
class Sums:
    """What a partner, or all, have: now by the ledger, then by the other rules. Licenses bound to them, and cents."""

    licenses_now: int = 0
    licenses_then: int = 0
    first_tier_now_cents: int = 0
    first_tier_then_cents: int = 0
    second_tier_now_cents: int = 0
    second_tier_then_cents: int = 0

    @property
    def difference_cents(self) -> int:
        return (
            self.first_tier_then_cents
            - self.first_tier_now_cents
            + self.second_tier_then_cents
            - self.second_tier_now_cents
        )

    def add(self, other: Sums) -> None:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The outcome, as of facts up to `through_load` and lines up to `round`: Partner ID → sums, the greatest
    differences first. `moved_licenses` would belong to somebody else, or to nobody."""

    now: Rules
    then: Rules
    round: int
    through_load: int
    moved_licenses: int
    partners: dict[str, Sums] = field(default_factory=dict)

    @property
    def total(self) -> Sums:
        total = Sums()
        for sums in self.partners.values():
            total.add(sums)
        return total


def what_if(warehouse: Warehouse, program: Program, rules: Rules) -> WhatIf:
    """What the published history gives under `rules`. Rounds and audits may go on meanwhile."""
    partners: defaultdict[str, Sums] = defaultdict(Sums)
    with recomputed(warehouse, rules.applied_to(program), rules.model == Winner.FIRST) as expected:
        for row in expected.rows("audit_lines", per_partner=1, max_rows=MAX_ROWS):
            sums = partners[row["partner_id"]]
            if row["tier"] == 1:
                sums.first_tier_now_cents, sums.first_tier_then_cents = row["posted_cents"], row["expected_cents"]
            else:
                sums.second_tier_now_cents, sums.second_tier_then_cents = row["posted_cents"], row["expected_cents"]
        moved = 0
        for row in expected.rows("whatif_licenses"):
            moved += row["left_behind"]
            if row["partner_id"]:
                sums = partners[row["partner_id"]]
                sums.licenses_now, sums.licenses_then = row["licenses_now"], row["licenses_then"]
    ordered = dict(_by_difference(partners.items()))
    return WhatIf(Rules.of(program), rules, expected.round, expected.through_load, moved, ordered)


def _by_difference(partners: Iterable[tuple[str, Sums]]) -> list[tuple[str, Sums]]:
    return sorted(partners, key=lambda item: (-abs(item[1].difference_cents), item[0]))
