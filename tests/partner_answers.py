"""What the app's calls must answer each partner: their figures (partner_figures.py) as the Partner API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any

from tests.partner_figures import BRINGS_PARTNERS, LATELY, SOLD, Account, Figures, Link
from tests.periods import Span, bucket_of, day_of, last_of, shown, start_of
from tests.reference import DAY
from tracker.events import SignedUp, SolutionLicenseCreated


class Answers(Figures):
    """The documents of a partner's calls; of some, the fields that are figures."""

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
