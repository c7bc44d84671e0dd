"""What the app must answer each partner, in plain Python from the rules and docs/partner-api.md.

Like the reference that it stands on, it shares no code with the product but the records of facts, and looks at all
facts for each figure. `questions` gives what to ask a partner's calls, with what must be in the answers.
"""

from __future__ import annotations

import calendar
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from tests.reference import DAY, AnyFact, Binding, Reference, half_even
from tracker.events import Paid, SignedUp, SolutionLicenseCreated
from tracker.program import Program

LATELY = 30 * DAY
TRIAL = 14 * DAY
BRINGS_PARTNERS = "partner_program"
SOLD = "livechat"
"""The one product of these histories that clients have licenses for."""
AGGREGATIONS = ("day", "week", "month")
RESULTS = ("clicks", "trials", "conversions", "earnings")
LIMITS = (1, 2, 100)

Question = tuple[str, Any]
"""The target of a GET, and what must be in its answer; see `unlike`."""


@dataclass(frozen=True)
class Campaign:
    """A campaign as the app lists it."""

    id: int
    slug: str
    name: str
    product: str


@dataclass
class Account:
    """What is known of a partner besides facts."""

    pending_cents: int = 0
    withdrawn_cents: int = 0
    campaigns: list[Campaign] = field(default_factory=list)
    """The built-in ones included."""

    def campaign(self, slug: str, product: str) -> Campaign:
        """Whose result it is that came by a link with this slug to this product."""
        named = [one for one in self.campaigns if one.slug == slug]
        return (named or [one for one in self.campaigns if one.slug == f"pp_default_{product}"])[0]


@dataclass(frozen=True)
class Line:
    """What a money event earned a partner on a tier, with corrections: cents are not 0."""

    occurred_at: int
    tier: int
    license_id: str
    payment_id: str
    referred_id: str
    cents: int


@dataclass(frozen=True, order=True)
class Link:
    """What won a license or a partner: the product and the campaign of the click; of neither where none did."""

    product: str = ""
    slug: str = ""


@dataclass(frozen=True)
class Span:
    """A period as it is asked for, and its moments [begins, ends)."""

    date_from: str
    date_to: str
    begins: int
    ends: int

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, int) and self.begins <= moment < self.ends

    @property
    def query(self) -> dict[str, str]:
        return {"date_from": self.date_from, "date_to": self.date_to}


def day_of(moment: int) -> date:
    return datetime.fromtimestamp(moment // 1000, UTC).date()


def start_of(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def whole_days(first: date, last: date) -> Span:
    return Span(str(first), str(last), start_of(first), start_of(last + timedelta(days=1)))


def span_between(first: int, last: int, chance: random.Random) -> Span:
    """The period from one moment through another: as days, or to the second and so around them closely."""
    if chance.random() < 0.5:
        return whole_days(day_of(first), day_of(last))
    begins, last_second = first // 1000 * 1000, last // 1000 * 1000
    return Span(second(begins), second(last_second), begins, last_second + 1000)


def second(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown(moment: int) -> str:
    """A time as the Partner API shows it."""
    return f"{datetime.fromtimestamp(moment // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def months_later(moment: int, months: int) -> int:
    """The same time of day, on the same day of a later month or its last one."""
    at = datetime.fromtimestamp(moment / 1000, UTC)
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return start_of(date(year, month + 1, day)) + moment % DAY


def bucket_of(day: date, aggregation: str) -> date:
    """The first day of the bucket that a day is in."""
    if aggregation == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if aggregation == "month" else day


def last_of(first: date, aggregation: str) -> date:
    """The last day of the bucket that begins on `first`."""
    days = {"day": 1, "week": 7, "month": calendar.monthrange(first.year, first.month)[1]}[aggregation]
    return first + timedelta(days=days - 1)


def unlike(told: Any, expected: Any, where: str = "") -> list[str]:
    """How an answer differs from what must be in it: all of a list, and of an object the fields that are named."""
    if isinstance(expected, Mapping):
        if not isinstance(told, Mapping):
            return [f"{where} is {told!r}"]
        return [one for name, value in expected.items() for one in unlike(told.get(name), value, f"{where}.{name}")]
    if isinstance(expected, list):
        if not isinstance(told, list) or len(told) != len(expected):
            return [f"{where} is {told!r}, not {expected!r}"]
        pairs = enumerate(zip(told, expected, strict=True))
        return [one for number, (left, right) in pairs for one in unlike(left, right, f"{where}[{number}]")]
    return [] if told == expected else [f"{where} is {told!r}, not {expected!r}"]


class Figures:
    """What every partner must be told once `facts` are attributed, at `now_ms`, which is after all of them."""

    def __init__(self, facts: Iterable[AnyFact], program: Program, now_ms: int) -> None:
        self.reference = Reference(facts, program)
        self.result = self.reference.outcome()
        self.now_ms = now_ms
        self.clicks = {click.click_id: click for click in self.reference.clicks}
        self.payments = {payment.payment_id: payment for payment in self.reference.payments}
        self.refunds = {refund.refund_id: refund for refund in self.reference.refunds}

    @property
    def partner_ids(self) -> list[str]:
        return sorted(self.reference.partners)

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        """Partner → lines."""
        found: dict[str, list[Line]] = {partner_id: [] for partner_id in self.partner_ids}
        for (event, tier, partner_id), cents in self.result.events.items():
            kind, _, name = event.partition(":")
            payment = self.payments[name if kind == "payment" else self.refunds[name].payment_id]
            occurred_at = payment.paid_at if kind == "payment" else self.refunds[name].refunded_at
            referred = self.bindings[payment.license_id].partner_id if tier == 2 else ""
            line = Line(occurred_at, tier, payment.license_id, payment.payment_id, referred, cents)
            found[partner_id].append(line)
        return found

    @property
    def bindings(self) -> Mapping[str, Binding]:
        return self.result.bindings

    # Licenses

    def licenses(self, partner_id: str) -> list[SignedUp | SolutionLicenseCreated]:
        return [one for name, one in self.reference.licenses.items() if self.bindings[name].partner_id == partner_id]

    def affiliate_licenses(self, partner_id: str) -> list[SignedUp]:
        return [one for one in self.licenses(partner_id) if isinstance(one, SignedUp)]

    def is_solution(self, license_id: str) -> bool:
        return isinstance(self.reference.licenses[license_id], SolutionLicenseCreated)

    def paid(self, license_id: str) -> list[Paid]:
        """Payments by time, equal ones by id."""
        found = [payment for payment in self.payments.values() if payment.license_id == license_id]
        return sorted(found, key=lambda payment: (payment.paid_at, payment.payment_id))

    def has_reached(self, license_id: str, stage: str) -> bool:
        return any(one.license_id == license_id and one.kind == stage for one in self.reference.license_changes)

    def handed_over_at(self, license_id: str) -> int | None:
        """R13: when its client began to pay for a license that its partner had paid for, with a trial."""
        license_ = self.reference.licenses[license_id]
        if not isinstance(license_, SolutionLicenseCreated) or license_.payment_origin != "partner":
            return None
        moments = [one.occurred_at for one in self.reference.transfers if one.license_id == license_id]
        return min(moments, default=None)

    def trial_end(self, license_id: str) -> int:
        license_ = self.reference.licenses[license_id]
        if isinstance(license_, SignedUp):
            return license_.signed_up_at + (TRIAL if license_.trial_days is None else license_.trial_days * DAY)
        handed_over = self.handed_over_at(license_id)
        return (license_.created_at if handed_over is None else handed_over) + TRIAL

    def ended_at(self, license_id: str) -> int | None:
        """When it was reported as expired that nobody has paid for or handed over since, or else its trial ended that
        who pays now has not paid for."""
        ends = [
            one.occurred_at
            for one in self.reference.license_changes
            if one.license_id == license_id and one.kind == "expired"
        ]
        paid = [payment.paid_at for payment in self.paid(license_id)]
        handed_over = self.handed_over_at(license_id) or 0
        if ends and max(ends) > handed_over and max(ends) >= max(paid, default=0):
            return max(ends)
        if self.has_paid(license_id) or self.trial_end(license_id) > self.now_ms:
            return None
        return self.trial_end(license_id)

    def has_paid(self, license_id: str) -> bool:
        """Whether who pays now has paid."""
        handed_over = self.handed_over_at(license_id) or 0
        return any(payment.paid_at >= handed_over for payment in self.paid(license_id))

    def state(self, license_id: str) -> str:
        if self.ended_at(license_id) is not None:
            return "expired"
        return "paid" if self.has_paid(license_id) else "trial"

    def paid_until(self, license_id: str) -> int:
        last = self.paid(license_id)[-1]
        return months_later(last.paid_at, 12 if last.billing_cycle == "annual" else 1)

    def end(self, license_id: str) -> int:
        """When it ended, or ends as far as is known."""
        ended = self.ended_at(license_id)
        if ended is not None:
            return ended
        return self.paid_until(license_id) if self.has_paid(license_id) else self.trial_end(license_id)

    def saved(self, license_: SolutionLicenseCreated) -> int:
        """R6: what its partner saved by paying for it."""
        return sum(
            half_even(Fraction(payment.amount_cents * 20, 80))
            if payment.discount_cents is None
            else payment.discount_cents
            for payment in self.paid(license_.license_id)
            if self.reference.partner_pays(license_.license_id, payment.paid_at)
        )

    def link(self, license_id: str) -> Link:
        won = self.bindings[license_id].click_id
        return Link(self.clicks[won].product, self.clicks[won].campaign) if won else Link(SOLD)

    def join_link(self, partner_id: str) -> Link:
        joined = self.reference.partners[partner_id]
        won = self.reference.brought_by(joined.visitor_id, joined.recruiter_hint, joined.joined_at).click_id
        return Link(self.clicks[won].product, self.clicks[won].campaign) if won else Link(BRINGS_PARTNERS)

    def referred(self, partner_id: str) -> list[str]:
        return [name for name, recruiter in self.result.recruiters.items() if recruiter == partner_id]

    # Money

    def available(self, partner_id: str, account: Account) -> int:
        """R18."""
        lines = self.lines[partner_id]
        commission = sum(line.cents for line in lines)
        blocked = sum(line.cents for line in lines if line.license_id in self.result.blocked)
        return commission - blocked - account.pending_cents - account.withdrawn_cents

    def earned_with(self, line: Line) -> tuple[str, str]:
        """Program and product of what was earned."""
        if line.tier == 2:
            return "affiliate", BRINGS_PARTNERS
        return "solution" if self.is_solution(line.license_id) else "affiliate", SOLD

    def commission(self, partner_id: str, product: str, program: str, referred: bool) -> list[tuple[int, int]]:
        """Moments and cents of lines; `all` products and programs. `referred`: of what referred partners' licenses
        paid, by these."""
        found = []
        for line in self.lines[partner_id]:
            of_program, of_product = self.earned_with(line)
            if referred:
                of_program = "solution" if self.is_solution(line.license_id) else "affiliate"
                of_product = BRINGS_PARTNERS if product == BRINGS_PARTNERS else SOLD
            if (not referred or line.tier == 2) and product in ("all", of_product) and program in ("all", of_program):
                found.append((line.occurred_at, line.cents))
        return found

    def line_link(self, line: Line) -> Link:
        return self.join_link(line.referred_id) if line.tier == 2 else self.link(line.license_id)

    def results(self, result: str, partner_id: str) -> list[tuple[int, int, str, Link]]:
        """What a partner achieved as an affiliate: moment, how much, product, and by which link."""
        if result == "clicks":
            counted = [self.clicks[click_id] for click_id in self.result.countable]
            return [
                (click.clicked_at, 1, click.product, Link(click.product, click.campaign))
                for click in counted
                if click.partner_id == partner_id
            ]
        if result == "earnings":
            return [
                (line.occurred_at, line.cents, self.earned_with(line)[1], self.line_link(line))
                for line in self.lines[partner_id]
                if self.earned_with(line)[0] == "affiliate"
            ]
        own = self.affiliate_licenses(partner_id)
        if result == "trials":
            return [(one.signed_up_at, 1, SOLD, self.link(one.license_id)) for one in own]
        return [
            (paid[0].paid_at, 1, SOLD, self.link(one.license_id)) for one in own if (paid := self.paid(one.license_id))
        ]

    def by_campaign(self, result: str, partner_id: str, span: Span, account: Account) -> list[tuple[Campaign, int]]:
        """Campaigns with the most of a result first, of equal ones the smaller number; none without any."""
        sums: dict[Campaign, int] = {}
        for moment, value, _, link in self.results(result, partner_id):
            if moment in span:
                campaign = account.campaign(link.slug, link.product)
                sums[campaign] = sums.get(campaign, 0) + value
        return sorted(
            ((one, value) for one, value in sums.items() if value > 0), key=lambda pair: (-pair[1], pair[0].id)
        )

    # Documents

    def report(self, span: Span, aggregation: str, values: Iterable[tuple[int, int]], unit: int) -> dict[str, Any]:
        """Every bucket that the period touches, with the sum of values in it, `unit` of which are shown as 1."""
        sums: dict[date, int] = {}
        for moment, value in values:
            if moment in span:
                first = bucket_of(day_of(moment), aggregation)
                sums[first] = sums.get(first, 0) + value
        days = [day_of(moment) for moment in range(span.begins, span.ends, DAY)] + [day_of(span.ends - 1)]
        firsts = sorted({bucket_of(day, aggregation) for day in days}) if span.begins < span.ends else []
        return {
            "items": [
                {
                    "date_range": {"from": f"{first} 00:00:00", "to": f"{last_of(first, aggregation)} 23:59:59"},
                    "total": sums.get(first, 0) / unit,
                }
                for first in firsts
            ]
        }

    def reachable(self, span: Span) -> Span:
        """Reports of affiliates reach back to the month twelve months ago."""
        today = day_of(self.now_ms)
        earliest = start_of(date(today.year - 1, today.month, 1))
        return Span(span.date_from, span.date_to, max(span.begins, earliest), span.ends)

    def balance(self, partner_id: str, account: Account) -> dict[str, Any]:
        available = self.available(partner_id, account)
        total = Fraction(account.pending_cents + account.withdrawn_cents + available, 100)
        return {
            "pending": account.pending_cents / 100,
            "withdrawn": account.withdrawn_cents / 100,
            "available": available / 100,
            "total": f"{float(total):.2f}",
        }

    def earnings(self, partner_id: str, account: Account) -> dict[str, Any]:
        lines = self.lines[partner_id]

        def totals(program: str = "", product: str = "") -> dict[str, Any]:
            wanted = [
                line
                for line in lines
                if program in ("", self.earned_with(line)[0]) and product in ("", self.earned_with(line)[1])
            ]
            lately = [line for line in wanted if line.occurred_at >= self.now_ms - LATELY]
            return {
                "commission_total": sum(line.cents for line in wanted) / 100,
                "commission_last_30_days": sum(line.cents for line in lately) / 100,
            }

        saved = sum(self.saved(one) for one in self.created(partner_id))
        return {
            "balance": self.available(partner_id, account) / 100,
            "blocked": sum(line.cents for line in lines if line.license_id in self.result.blocked) / 100,
            "withdrawals": account.withdrawn_cents / 100,
            "pending": account.pending_cents / 100,
            **totals(),
            "affiliate": {
                **totals("affiliate"),
                SOLD: totals("affiliate", SOLD),
                BRINGS_PARTNERS: totals("affiliate", BRINGS_PARTNERS),
            },
            "solution": {**totals("solution"), SOLD: {**totals("solution", SOLD), "discount": saved / 100}},
        }

    def created(self, partner_id: str) -> list[SolutionLicenseCreated]:
        """Solution licenses of a partner, newest first."""
        found = [
            one
            for one in self.reference.licenses.values()
            if isinstance(one, SolutionLicenseCreated) and one.partner_id == partner_id
        ]
        return sorted(found, key=lambda one: (one.created_at, one.license_id), reverse=True)

    def counts(self, license_ids: Sequence[str]) -> dict[str, int]:
        trials = [one for one in license_ids if self.state(one) == "trial"]
        return {
            "trials": len(trials),
            "trials_cc": sum(self.has_reached(one, "card_added") for one in trials),
            "paid": sum(self.state(one) == "paid" for one in license_ids),
        }

    def stats(self, partner_id: str) -> dict[str, Any]:
        own = [one.license_id for one in self.licenses(partner_id)]
        referred = self.referred(partner_id)
        theirs = [one.license_id for name in referred for one in self.licenses(name)]
        return {
            "affiliate": {
                SOLD: self.counts([one for one in own if not self.is_solution(one)]),
                BRINGS_PARTNERS: {**self.counts(theirs), "partners_referred": len(referred)},
            },
            "solution": {SOLD: self.counts([one for one in own if self.is_solution(one)])},
        }

    def summary(self, partner_id: str) -> dict[str, int]:
        states = [self.state(one.license_id) for one in self.affiliate_licenses(partner_id)]
        return {"trials": states.count("trial"), "paid": states.count("paid"), "expired": states.count("expired")}

    def percent_now(self, partner_id: str) -> float:
        return float(100 * self.reference.percent(partner_id, 1, self.now_ms))

    def earned_on(self, license_id: str, partner_id: str) -> int:
        return sum(line.cents for line in self.lines[partner_id] if line.tier == 1 and line.license_id == license_id)

    def named(self, link: Link, account: Account) -> dict[str, str]:
        """How a row says where it came from. A slug that is no campaign's is its own name."""
        campaign = account.campaign(link.slug, link.product)
        name = campaign.name if link.slug in ("", campaign.slug) else link.slug
        return {"campaign_name": name, "utm_campaign": link.slug, "utm_medium": "", "utm_content": "", "utm_term": ""}

    def license_rows(self, partner_id: str, span: Span, account: Account) -> dict[str, Any]:
        own = [one for one in self.affiliate_licenses(partner_id) if one.signed_up_at in span]
        own.sort(key=lambda one: (one.signed_up_at, one.license_id), reverse=True)
        return {
            "result": [
                {
                    **self.named(self.link(one.license_id), account),
                    "product": SOLD,
                    "creation_timestamp": shown(one.signed_up_at),
                    "end_timestamp": shown(self.end(one.license_id)),
                    "active": self.state(one.license_id) != "expired",
                    "ql": self.has_reached(one.license_id, "qualified"),
                    "cc_added": self.has_reached(one.license_id, "card_added"),
                    "paid": bool(self.paid(one.license_id)),
                    "commission_percent": 0
                    if self.bindings[one.license_id].reason == "self_referral"
                    else self.percent_now(partner_id),
                    "earnings": self.earned_on(one.license_id, partner_id) / 100,
                    "blocked": one.license_id in self.result.blocked,
                }
                for one in own
            ]
        }

    def performance(self, partner_id: str, span: Span, account: Account) -> dict[str, Any]:
        names = ("clicks", "trials", "qls", "paid", "partners_referred", "cents")
        rows: dict[tuple[str, Link], dict[str, int]] = {}

        def add(product: str, link: Link, name: str, moment: int, value: int = 1) -> None:
            if moment in span:
                rows.setdefault((product, link), dict.fromkeys(names, 0))[name] += value

        for moment, _, product, link in self.results("clicks", partner_id):
            add(product, link, "clicks", moment)
        for license_ in self.affiliate_licenses(partner_id):
            link = self.link(license_.license_id)
            add(SOLD, link, "trials", license_.signed_up_at)
            if self.has_reached(license_.license_id, "qualified"):
                add(SOLD, link, "qls", license_.signed_up_at)
        for moment, _, product, link in self.results("conversions", partner_id):
            add(product, link, "paid", moment)
        for name in self.referred(partner_id):
            add(BRINGS_PARTNERS, self.join_link(name), "partners_referred", self.reference.partners[name].joined_at)
        for moment, cents, product, link in self.results("earnings", partner_id):
            add(product, link, "cents", moment, cents)
        return {
            "result": [
                {
                    **self.named(link, account),
                    "product": product,
                    **{name: row[name] for name in names if name != "cents"},
                    "commission": row["cents"] / 100,
                }
                for (product, link), row in sorted(rows.items(), key=lambda one: one[0])
                if any(row.values())
            ]
        }

    def referred_rows(self, partner_id: str, account: Account) -> dict[str, Any]:
        names = sorted(self.referred(partner_id), key=lambda name: (-self.reference.partners[name].joined_at, name))
        rows = []
        for name in names:
            licenses = [one.license_id for one in self.licenses(name)]
            counts = self.counts(licenses)
            rows.append(
                {
                    **self.named(self.join_link(name), account),
                    "partner_id": name,
                    "creation_timestamp": shown(self.reference.partners[name].joined_at),
                    "active_trials": counts["trials"],
                    "active_trials_cc_added": counts["trials_cc"],
                    "total_trials": len(licenses),
                    "active_paid": counts["paid"],
                    "total_paid": sum(bool(self.paid(one)) for one in licenses),
                    "commission": sum(line.cents for line in self.lines[partner_id] if line.referred_id == name) / 100,
                }
            )
        return {"result": rows}

    def solution_license(self, one: SolutionLicenseCreated) -> dict[str, Any]:
        pays = self.reference.partner_pays(one.license_id, self.now_ms)
        return {
            "license": one.license_id,
            "creation_timestamp": shown(one.created_at),
            "end_timestamp": shown(self.end(one.license_id)),
            "cc_added": self.has_reached(one.license_id, "card_added"),
            "paid": bool(self.paid(one.license_id)),
            "payment_origin": "partner" if pays else "client",
            "status": self.state(one.license_id),
        }

    def solution_details(self, one: SolutionLicenseCreated) -> dict[str, Any]:
        document = self.solution_license(one)
        pays = document["payment_origin"] == "partner"
        return {
            **document,
            "ql": self.has_reached(one.license_id, "qualified"),
            "total_discount": self.saved(one) / 100,
            "discount_percent": 20 if pays else 0,
            "total_commission": self.earned_on(one.license_id, one.partner_id) / 100,
            "commission_percent": 0 if pays else self.percent_now(one.partner_id),
        }

    def overview(self, partner_id: str, span: Span, account: Account) -> dict[str, Any]:
        lines = self.lines[partner_id]
        series: Mapping[str, list[tuple[int, int]]] = {
            "clicks": [(moment, 1) for moment, *_ in self.results("clicks", partner_id)],
            "signups": [(self.reference_start(one), 1) for one in self.licenses(partner_id)],
            "first_tier_cents": [(line.occurred_at, line.cents) for line in lines if line.tier == 1],
            "second_tier_cents": [(line.occurred_at, line.cents) for line in lines if line.tier == 2],
        }
        days = [day_of(moment) for moment in range(span.begins, span.ends, DAY)]
        return {
            "totals": {name: sum(v for moment, v in each if moment in span) for name, each in series.items()},
            "commission_cents": sum(line.cents for line in lines),
            "blocked_cents": sum(line.cents for line in lines if line.license_id in self.result.blocked),
            "balance_cents": self.available(partner_id, account),
            "items": [
                {"day": str(day)}
                | {name: sum(v for moment, v in each if day_of(moment) == day) for name, each in series.items()}
                for day in days
            ],
        }

    @staticmethod
    def reference_start(one: SignedUp | SolutionLicenseCreated) -> int:
        return one.signed_up_at if isinstance(one, SignedUp) else one.created_at

    # Questions

    def questions(
        self, partner_id: str, account: Account, spans: Sequence[Span], chance: random.Random
    ) -> Iterator[Question]:
        """Every call with figures of a partner, once; periods, products, programs, aggregations and limits as `chance`
        has them. The first of `spans` has all of the history."""
        of_all = spans[0]
        product = chance.choice(("all", SOLD, BRINGS_PARTNERS))
        program = chance.choice(("all", "affiliate", "solution"))
        aggregation = chance.choice(AGGREGATIONS)
        span = chance.choice(spans)

        def ask(path: str, expected: Any, **query: object) -> Question:
            return f"/v2/partners{path}" + (f"?{urlencode(query)}" if query else ""), expected

        yield ask("/balance", self.balance(partner_id, account))
        yield ask("/earnings", self.earnings(partner_id, account))
        yield ask("/stats", self.stats(partner_id))
        filters = [
            {"field": name, "operator": "equals", "value": value}
            for name, value in (("product", product), ("program", program))
            if value != "all"
        ]
        commission = self.commission(partner_id, product, program, referred=False)
        yield ask(
            "/reports/commission", self.report(span, aggregation, commission, 100),
            **span.query, aggregation=aggregation, filters=json.dumps(filters),
        )  # fmt: skip
        chosen = {"product": product, "program": program}
        for path, moments in (
            ("/metrics/commission", commission),
            ("/partners-referred/metrics/commission", self.commission(partner_id, product, program, referred=True)),
        ):
            yield ask(
                path, {"value": sum(cents for moment, cents in moments if moment in span) / 100}, **span.query, **chosen
            )
        yield ask(
            "/partners-referred/reports/commission",
            self.report(span, aggregation, self.commission(partner_id, product, program, referred=True), 100),
            **span.query, aggregation=aggregation, **chosen,
        )  # fmt: skip
        yield from self._affiliate_questions(partner_id, account, span, aggregation, product, ask, chance)
        yield ask("/affiliates/summary", self.summary(partner_id))
        yield ask("/affiliates/licenses", self.license_rows(partner_id, span, account), **span.query)
        yield ask("/affiliates/performance", self.performance(partner_id, span, account), **span.query)
        yield ask("/affiliates/partners-referred", self.referred_rows(partner_id, account))
        created = self.created(partner_id)
        yield ask(
            "/solutions/licenses",
            {"result": [self.solution_license(one) for one in created if one.created_at in span]},
            **span.query,
        )
        state = chance.choice(("trial", "paid", "expired"))
        of_state = [one for one in created if self.state(one.license_id) == state]
        yield ask(
            f"/solutions/licenses/{state}",
            {"results": [{"license_id": one.license_id, "status": state} for one in of_state]},
            **of_all.query, limit=15,
        )  # fmt: skip
        for one in created[:1]:
            yield ask(f"/solutions/licenses/{SOLD}/{one.license_id}", self.solution_details(one))
        year = whole_days(day_of(of_all.begins), day_of(of_all.begins) + timedelta(days=364))
        yield ask("/overview", self.overview(partner_id, year, account), **year.query)

    def _affiliate_questions(
        self, partner_id: str, account: Account, span: Span, aggregation: str, product: str,
        ask: Callable[..., Question], chance: random.Random,
    ) -> Iterator[Question]:  # fmt: skip
        """Clicks, trials, conversions and earnings: over time, and by campaign."""
        for result in RESULTS:
            unit = 100 if result == "earnings" else 1
            found = self.results(result, partner_id)
            of_product = [(at, value) for at, value, of, _ in found if product in ("all", of)]
            wanted = {} if product == "all" or result == "trials" else {"product": product}
            values = found if result == "trials" else [one for one in found if product in ("all", one[2])]
            total = sum(value for at, value, *_ in values if at in span)
            yield ask(f"/affiliates/metrics/{result}", {"value": total / unit}, **span.query, **wanted)
            report = self.report(self.reachable(span), aggregation, of_product, unit)
            yield ask(f"/affiliates/reports/{result}", report, **span.query, aggregation=aggregation, product=product)
            limit = chance.choice(LIMITS)
            best = self.by_campaign(result, partner_id, span, account)[:limit]
            rows = [{"id": one.id, "name": one.name, "product": one.product, "value": v / unit} for one, v in best]
            where = "/affiliates/campaigns/best-performing"
            yield ask(f"{where}/reports/{result}", {"items": rows}, **span.query, limit=limit)
            yield ask(f"{where}/metrics/{result}", {"value": sum(v for _, v in best) / unit}, **span.query, limit=limit)
        yield from self._campaign_questions(partner_id, account, span, aggregation, ask, chance)

    def _campaign_questions(
        self, partner_id: str, account: Account, span: Span, aggregation: str, ask: Callable[..., Question],
        chance: random.Random,
    ) -> Iterator[Question]:  # fmt: skip
        """One of the partner's campaigns, and what all of them earned."""
        campaign = chance.choice(account.campaigns)
        sums = {
            result: sum(
                value
                for _, value, _, link in self.results(result, partner_id)
                if account.campaign(link.slug, link.product) == campaign
            )
            for result in RESULTS
        }
        yield ask(
            f"/affiliates/campaigns/{chance.choice((campaign.id, campaign.slug))}/summary",
            {
                "click": sums["clicks"],
                "trial": sums["trials"],
                "paid": sums["conversions"],
                "earnings": sums["earnings"] / 100,
            },
        )
        cycle = chance.choice(("monthly", "annual"))
        earned = [
            (line.occurred_at, line.cents)
            for line in self.lines[partner_id]
            if self.earned_with(line)[0] == "affiliate"
            and (self.payments[line.payment_id].billing_cycle or "monthly") == cycle
            and account.campaign(self.line_link(line).slug, self.line_link(line).product) == campaign
        ]
        where, chosen = f"/affiliates/campaigns/{campaign.id}", {**span.query, "billing_cycle": cycle}
        yield ask(f"{where}/metrics/earnings", {"value": sum(c for at, c in earned if at in span) / 100}, **chosen)
        yield ask(
            f"{where}/reports/earnings", self.report(span, aggregation, earned, 100), **chosen, aggregation=aggregation
        )
        everything = sum(value for _, value, *_ in self.results("earnings", partner_id))
        yield ask(
            "/affiliates/campaigns/search",
            {"value": everything / 100, "total": len(account.campaigns)},
            page=1, state="active",
        )  # fmt: skip
