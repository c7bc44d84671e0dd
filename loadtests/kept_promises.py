"""Whether what was promised was kept: each promise is stored once, nothing is there twice, and nobody else's is there.

The ledger is held against the rules in their plainest form (R2, R3, R6, R7, R8), over all that is stored: in this
traffic nobody is suspended, everything is younger than the window, and whole dollars need no rounding.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loadtests.promises import Promises, SentFact
from loadtests.stored import Row, Stored
from tracker.program import Program

ID_COLUMNS = {
    "partner": "partner_id",
    "signup": "license_id",
    "payment": "payment_id",
    "refund": "refund_id",
    "license_event": "event_id",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that is not as promised. `subject` is the id or the mark that it is about."""

    what: str
    subject: str
    expected: str
    found: str


def broken_promises(promises: Promises, stored: Stored) -> list[Broken]:
    """Everything that is wrong with what is stored. Empty when every promise was kept."""
    return [
        *(Broken("a wrong answer", "", "", words) for words in promises.wrong),
        *_clicks(promises, stored),
        *_facts(promises, stored),
        *_clients(promises, stored),
        *_nets(stored),
    ]


def _clicks(promises: Promises, stored: Stored) -> Iterable[Broken]:
    rows = _by(stored.clicks, "mark")
    for click in promises.clicks:
        found = rows.pop(click.mark, [])
        if len(found) > 1:
            yield Broken("a click is there twice", click.mark, "1", str(len(found)))
        elif click.is_promised and not found:
            yield Broken("a promised click is missing", click.mark, f"{click.partner_id} {click.visitor_id}", "")
        for row in found[:1]:
            if (row["partner_id"], row["visitor_id"]) != (click.partner_id, click.visitor_id or row["visitor_id"]):
                expected = f"{click.partner_id} {click.visitor_id}"
                yield Broken("a click is not what was sent", click.mark, expected, f"{row}")
    for mark, found in rows.items():
        yield Broken("a click that nobody sent", mark, "", str(found))
    for click_id, times in Counter(row["click_id"] for row in stored.clicks).items():
        if times > 1:
            yield Broken("a click id is there twice", click_id, "1", str(times))


def _facts(promises: Promises, stored: Stored) -> Iterable[Broken]:
    sent: dict[str, dict[str, SentFact]] = {kind: {} for kind in ID_COLUMNS}
    for fact in promises.facts:
        sent[fact.kind][fact.fact_id] = fact
    for kind, column in ID_COLUMNS.items():
        rows = _by(stored.facts[kind], column)
        for fact_id, fact in sent[kind].items():
            found = rows.pop(fact_id, [])
            if len(found) > 1:
                yield Broken(f"a {kind} is there twice", fact_id, "1", str(len(found)))
            elif fact.is_promised and not found:
                yield Broken(f"a promised {kind} is missing", fact_id, str(dict(fact.says)), "")
            for row in found[:1]:
                if wrong := {name: row[name] for name in row.keys() & fact.says.keys() if row[name] != fact.says[name]}:
                    yield Broken(f"a {kind} is not what was sent", fact_id, str(dict(fact.says)), str(wrong))
        for fact_id, found in rows.items():
            yield Broken(f"a {kind} that nobody sent", fact_id, "", str(found))


def _clients(promises: Promises, stored: Stored) -> Iterable[Broken]:
    """A signup's client is in the store of its data center, and in no other."""
    rows = _by(stored.clients, "license_id")
    signups = {row["license_id"] for row in stored.facts["signup"]}
    for fact in promises.facts:
        if fact.kind != "signup":
            continue
        found = rows.pop(fact.fact_id, [])
        expected = [fact.says["data_center"]] if fact.fact_id in signups else []
        if (centers := [row["data_center"] for row in found]) != expected:
            yield Broken("a client is not in one data center", fact.fact_id, str(expected), str(centers))
    for license_id, found in rows.items():
        yield Broken("a client that nobody sent", license_id, "", str(found))


def _nets(stored: Stored) -> Iterable[Broken]:
    """What the ledger gives on each payment is what the rules give on the stored facts."""
    expected = dict(_expected_nets(stored))
    posted = {(row["payment_id"], row["tier"], row["partner_id"]): row["net_cents"] for row in stored.nets}
    for key in sorted(expected.keys() | posted.keys()):
        if (net := expected.get(key, 0)) != (found := posted.get(key, 0)):
            yield Broken("a commission is not what the rules give", " ".join(map(str, key)), str(net), str(found))


def _expected_nets(stored: Stored) -> Iterable[tuple[tuple[str, int, str], int]]:
    """(payment id, tier, partner id) → cents, by R6 and R8 with the program's own percents."""
    program = Program()
    finder = _Finder(stored)
    signups = {row["license_id"]: row for row in stored.facts["signup"]}
    base_cents = {row["payment_id"]: row["amount_cents"] for row in stored.facts["payment"]}
    for refund in stored.facts["refund"]:
        if refund["payment_id"] in base_cents:
            sign = 1 if refund["kind"] == "chargeback_won" else -1
            base_cents[refund["payment_id"]] += sign * refund["amount_cents"]
    for payment in stored.facts["payment"]:
        signup = signups.get(payment["license_id"])
        partner_id = finder.brought_by(signup, signup["partner_id"], signup["signed_up_at"]) if signup else ""
        base = base_cents[payment["payment_id"]]
        if partner_id:
            yield (payment["payment_id"], 1, partner_id), base * program.first_tier_percent_hundredths // 10_000
            if recruiter_id := finder.recruiter(partner_id):
                yield (payment["payment_id"], 2, recruiter_id), base * program.second_tier_percent_hundredths // 10_000


class _Finder:
    """Finds who brought a license or a partner (R2, R3, R7)."""

    def __init__(self, stored: Stored) -> None:
        self._partners = {row["partner_id"]: row for row in stored.facts["partner"]}
        self._clicks = _by((row for row in stored.clicks if row["verdict"] == "human"), "visitor_id")

    def brought_by(self, who: Row, hint: str, moment: int) -> str:
        """R2, then R3. Nobody where it is the empty string."""
        counting = [
            (click["clicked_at"], click["click_id"], click["partner_id"])
            for click in self._clicks.get(who["visitor_id"], [])
            if self._has_joined(click["partner_id"], click["clicked_at"]) and click["clicked_at"] <= moment
        ]
        if counting:
            return str(max(counting)[2])
        return hint if self._has_joined(hint, moment) else ""

    def recruiter(self, partner_id: str) -> str:
        """R7."""
        joined = self._partners[partner_id]
        found = self.brought_by(joined, joined["recruiter_id"], joined["joined_at"])
        return "" if found == partner_id else found

    def _has_joined(self, partner_id: str, moment: int) -> bool:
        return partner_id in self._partners and self._partners[partner_id]["joined_at"] <= moment


def _by(rows: Iterable[Row], column: str) -> dict[Any, list[Mapping[str, Any]]]:
    """The rows by the value of a column."""
    found: defaultdict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return dict(found)
