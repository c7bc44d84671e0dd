"""Eight months of the example program, as import lines in the order of their times.

Everything follows from one seed and the moment at which the history ends, so that an import that broke off can be
repeated to the letter. Nothing here decides who earns what: these are facts, and attribution works on them like on any.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from loadtests.example_licenses import life_of_license
from loadtests.example_partners import BOTS, BROWSERS, OWN_RATES, PARTNERS, SUSPENDED, ExamplePartner
from tracker.program import DAY_MS
from tracker.rfc3339 import rfc3339

DAYS = 240
HOUR_MS = 3_600_000
RETURNING_SHARE = 0.22  # of human clicks come from a visitor that was here before
SWITCHING_SHARE = 0.08  # … and of those, from another partner's visitor
BOT_SHARE = 0.07
REMEMBERED_VISITORS = 4000
PARTNER_PAGE_SHARE = 0.05  # of clicks lead to the partner program's site
BUSY_HOURS = (1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 9, 10, 11, 11, 10, 9, 8, 7, 6, 5, 3, 2)
BUSY_WEEKDAYS = (1.1, 1.15, 1.12, 1.05, 0.95, 0.55, 0.5)  # from Monday

Fact = dict[str, Any]


def history(seed: int, ends_at: int) -> list[Fact]:
    """The facts of the DAYS before `ends_at` (ms), each with its time in it, oldest first."""
    return [fact for _, fact in sorted(_facts(random.Random(seed), ends_at), key=lambda item: item[0])]


def _facts(chance: random.Random, ends_at: int) -> Iterator[tuple[int, Fact]]:
    begins_at = ends_at - DAYS * DAY_MS
    clicks = _Clicks(chance, begins_at)
    for partner in PARTNERS:
        yield from _join(partner, clicks, begins_at)
    licenses = 0
    for day in range(DAYS):
        for partner in PARTNERS:
            for clicked_at, click in clicks.of_day(partner, day):
                if clicked_at >= ends_at:
                    continue
                yield clicked_at, click
                is_human = click["user_agent"] in BROWSERS and click["product"] == "livechat"
                if is_human and chance.random() < partner.conversion:
                    licenses += 1
                    yield from life_of_license(chance, 11_400_000 + licenses * 7, click, clicked_at, ends_at)
    yield from _out_of_the_ordinary(begins_at)


class _Clicks:
    """Who clicks when. Remembers some visitors, so that they can come back, also by another partner's link."""

    def __init__(self, chance: random.Random, begins_at: int) -> None:
        self._chance = chance
        self._begins_at = begins_at
        self._visitors: list[tuple[str, str, str]] = []  # visitor id, partner id, user agent

    def of_day(self, partner: ExamplePartner, day: int) -> Iterator[tuple[int, Fact]]:
        """The clicks on a partner's links in one day."""
        age = day - partner.joined_day
        if age < 1:
            return
        growth = min(1.0, 0.25 + age / 80) * (0.8 + 0.5 * day / DAYS)  # known after 60 days; the whole market grows
        weekday = datetime.fromtimestamp((self._begins_at + day * DAY_MS) / 1000, UTC).weekday()
        expected = partner.pull * growth * BUSY_WEEKDAYS[weekday]
        for _ in range(self._about(expected)):
            hour = self._chance.choices(range(24), BUSY_HOURS)[0]
            at = self._begins_at + day * DAY_MS + hour * HOUR_MS + self._chance.randrange(HOUR_MS)
            if at > self._begins_at + partner.joined_day * DAY_MS + HOUR_MS:
                yield at, self.click(partner, at)

    def _about(self, expected: float) -> int:
        """A random whole number around `expected`."""
        return max(0, round(self._chance.gauss(expected, expected**0.5)))

    def click(self, partner: ExamplePartner, at: int, product: str = "") -> Fact:
        chance = self._chance
        visitor, user_agent = self._visitor(partner)
        if not product:
            product = "partner_program" if chance.random() < PARTNER_PAGE_SHARE else "livechat"
        campaign = chance.choice(partner.campaigns) if partner.campaigns and chance.random() < 0.6 else ""
        fact: Fact = {
            "type": "click",
            "click_id": self.new_uuid(),
            "clicked_at": rfc3339(at),
            "visitor_id": visitor,
            "partner_id": partner.partner_id,
            "product": product,
            "user_agent": user_agent,
            "country": chance.choices(partner.countries, range(2 * len(partner.countries), 0, -2))[0],
        }
        if campaign:
            fact["campaign"] = campaign
        if chance.random() < 0.8:
            fact["referrer"] = partner.referrer
        return fact

    def _visitor(self, partner: ExamplePartner) -> tuple[str, str]:
        chance = self._chance
        if chance.random() < BOT_SHARE:
            return self.new_uuid(), chance.choice(BOTS)
        if self._visitors and chance.random() < RETURNING_SHARE:
            for _ in range(20):
                visitor, known_from, user_agent = chance.choice(self._visitors)
                if (known_from == partner.partner_id) != (chance.random() < SWITCHING_SHARE):
                    return visitor, user_agent
        visitor, user_agent = self.new_uuid(), chance.choices(BROWSERS, (30, 14, 9, 6, 8, 3, 14, 12, 3, 3))[0]
        self._visitors.append((visitor, partner.partner_id, user_agent))
        if len(self._visitors) > REMEMBERED_VISITORS:
            del self._visitors[: REMEMBERED_VISITORS // 4]
        return visitor, user_agent

    def new_uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))


def _join(partner: ExamplePartner, clicks: _Clicks, begins_at: int) -> Iterator[tuple[int, Fact]]:
    """A partner joins; one that was recruited follows the recruiter's link to the program's site first."""
    joined_at = begins_at + partner.joined_day * DAY_MS + 9 * HOUR_MS
    fact: Fact = {
        "type": "partner",
        "partner_id": partner.partner_id,
        "name": partner.name,
        "email": partner.email,
        "joined_at": rfc3339(joined_at),
        "visitor_id": clicks.new_uuid(),
    }
    if partner.recruiter:
        recruiter = next(other for other in PARTNERS if other.partner_id == partner.recruiter)
        clicked_at = joined_at - 40 * 60_000
        click = clicks.click(recruiter, clicked_at, "partner_program")
        click.update(user_agent=BROWSERS[0], visitor_id=fact["visitor_id"])
        yield clicked_at, click
    yield joined_at, fact


def _out_of_the_ordinary(begins_at: int) -> Iterator[tuple[int, Fact]]:
    """A suspension that is lifted, and a partner with rates of their own."""
    for day, kind in ((118, "suspended"), (139, "reinstated")):
        at = begins_at + day * DAY_MS + 14 * HOUR_MS
        yield at, _partner_event(SUSPENDED, kind, at)
    at = begins_at + 130 * DAY_MS
    yield at, _partner_event(OWN_RATES, "rate_changed", at) | {"first_tier_percent": 25, "second_tier_percent": 5}


def _partner_event(partner_id: str, kind: str, at: int) -> Fact:
    return {
        "type": "partner_event",
        "event_id": f"example-{partner_id}-{kind}",
        "partner_id": partner_id,
        "kind": kind,
        "occurred_at": rfc3339(at),
    }
