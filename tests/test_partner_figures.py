"""Random histories through the import, and then every figure that the app tells each partner, against the reference.

After each round of each history, in which loads and rounds die as in test_histories.py, partners ask the app for a part
of everything that has a figure, withdraw, and start campaigns; finance settles what they asked for. `HISTORIES_TOLD=n`
tries n histories, `HISTORIES_ASKED=1` asks for everything, and `HISTORIES_SEED=n` tries others than every run does.
"""

from __future__ import annotations

import functools
import os
import random
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from attribution.audit import audit
from attribution.publication import Publication
from attribution.warehouse import Warehouse
from reports.partner_api.contract import CONTRACT_OPERATIONS
from tests.databases import empty
from tests.delivery import PROGRAM, Delivery, differences, expected_after, stored_outcome, unbalanced
from tests.histories import DAY, START, History, import_line, merged, reduced
from tests.in_process import ADMIN_TOKEN, InProcess
from tests.partner_answers import Answers
from tests.partner_figures import LATELY, Account, Campaign
from tests.partner_questions import questions, unlike
from tests.periods import day_of, span_between, whole_days
from tests.test_histories import SEED, drawn

HISTORIES = int(os.environ.get("HISTORIES_TOLD", "4"))
SHARE = float(os.environ.get("HISTORIES_ASKED", "0.3"))
SIDE_BY_SIDE = int(os.environ.get("HISTORIES_SIDE_BY_SIDE", "4"))
LAST = START + 241 * DAY
"""When the last things of a history happen, give or take a millisecond."""
LATER = (LATELY, LATELY, 14 * DAY, 10 * DAY)
"""How long ago that may be when the first round is done: lines become older than 30 days, and trials are over."""
LEAST_CENTS = 5_000  # of a withdrawal
MOMENTS = tuple(START + day * DAY for day in (0, 1, 2, 60, 119, 120, 121, 122, 181, 240, 241))
ALL = whole_days(day_of(START - DAY), day_of(LAST + LATELY))
WITHOUT_FIGURES = {
    "get_status", "get_profile", "get_profile_alias", "get_coupons", "get_billing", "get_api_tokens", "get_campaigns",
    "get_affiliate_links", "get_organization_details", "get_organization_licenses",
    "get_withdrawals",  # what was asked for is compared where it is asked for
}  # fmt: skip
BILLING = {
    "type": "business", "company": "C", "address": "1", "city": "C", "country": "PL", "paypal": "pay@example.com",
}  # fmt: skip
SPRING = {"name": "Spring", "coupon_id": 1}
"""A campaign with the slug that some clicks of histories have, and a deal."""


@dataclass
class Partner:
    """A partner who uses the app."""

    token: str
    account: Account = field(default_factory=Account)
    waiting: list[tuple[int, int]] = field(default_factory=list)
    """Withdrawals that finance has not settled: number and cents."""


@dataclass
class Telling:
    """One run of a history. What partners do is as `seed` has it."""

    program: InProcess
    warehouse: Warehouse
    delivery: Delivery
    seed: str
    partners: dict[str, Partner] = field(default_factory=dict)

    def problems(self, history: History) -> list[str]:
        """What is wrong after the first round that leaves anything wrong."""
        for number, batch in enumerate(history.batches, 1):
            taken = self.program.take([import_line(fact, history.emails) for fact in batch])
            if taken.rejected:
                return [f"batch {number} was refused: {taken.rejected}"]
            self.delivery.load(self.program.client, self.warehouse)
            if self.delivery.rounds_after >> number & 1 or number == len(history.batches):
                found = self.after_round(history, number)
                if found:
                    return [f"after batch {number}:", *found]
                self.program.now_ms += 1
        self.delivery.load(self.program.client, self.warehouse)
        self.delivery.round(self.warehouse, None, Publication(self.program.client))
        report = audit(self.warehouse, PROGRAM)
        return [] if report.is_clean else [f"the audit is not clean: {report}"]

    def after_round(self, history: History, number: int) -> list[str]:
        found, _ = self.delivery.round(self.warehouse, None, Publication(self.program.client))
        self.program.is_attributed()
        found += differences(stored_outcome(self.warehouse), expected_after(history, number))
        found += unbalanced(self.warehouse)
        for place, part in enumerate(history.parts or (history,)):
            facts = [fact for batch in part.batches[:number] for fact in batch]
            answers = Answers(facts, PROGRAM, self.program.now_ms)
            for partner_id in answers.partner_ids:
                chance = random.Random(f"{self.seed} {place} {number} {partner_id}")
                found += self.told(answers, partner_id, chance)
                found += self.withdraws(answers, partner_id, chance)
                self.starts_campaign(partner_id, chance)
        return found

    def partner(self, partner_id: str) -> Partner:
        if partner_id not in self.partners:
            self.partners[partner_id] = Partner(self.program.token(partner_id))
            self.list_campaigns(self.partners[partner_id])
        return self.partners[partner_id]

    def list_campaigns(self, partner: Partner) -> None:
        target = "/v2/partners/affiliates/campaigns/search?page=1&state=active"
        listed = self.program.get(target, partner.token).json["results"]
        partner.account.campaigns = [Campaign(c["id"], c["slug"], c["name"], c["product"]) for c in listed]

    def told(self, answers: Answers, partner_id: str, chance: random.Random) -> list[str]:
        """How what a partner is told differs from what it must be."""
        found = []
        partner = self.partner(partner_id)
        first, last = sorted(chance.choices(MOMENTS, k=2))
        spans = (ALL, span_between(first, last, chance), span_between(first - 1000, last - 1000, chance))
        every = list(questions(answers, partner_id, partner.account, spans, chance))
        asked = [question for question in every if chance.random() < SHARE]
        told = self.program.get_all([target for target, _ in asked], partner.token)
        for (target, expected), answer in zip(asked, told, strict=True):
            if answer.status != 200:
                found.append(f"{partner_id} GET {target}: {answer.status} {answer.body!r}")
            else:
                found += [f"{partner_id} GET {target}: {one}" for one in unlike(answer.json, expected)]
        return found

    def withdraws(self, answers: Answers, partner_id: str, chance: random.Random) -> list[str]:
        """R18: now and then a partner asks for all there is, and finance pays or refuses what was asked for."""
        partner = self.partner(partner_id)
        account = partner.account
        if partner.waiting and chance.random() < 0.6:
            number, cents = partner.waiting.pop(0)
            settled = chance.choice(("paid", "rejected"))
            self.does("POST", f"/v2/admin/withdrawals/{number}/{settled}", ADMIN_TOKEN)
            account.pending_cents -= cents
            account.withdrawn_cents += cents if settled == "paid" else 0
        if chance.random() < 0.5:
            return []
        self.does("PUT", "/v2/partners/billing", partner.token, BILLING)
        available = answers.available(partner_id, account)
        answer = self.program.call("POST", "/v2/partners/withdrawals", partner.token)
        if (answer.status == 201) != (available >= LEAST_CENTS) or answer.status not in (201, 403):
            return [f"{partner_id} has {available}; a withdrawal is answered {answer.status} {answer.body!r}"]
        if answer.status == 201:
            if answer.json["amount"] != available / 100:
                return [f"{partner_id} has {available}; a withdrawal is of {answer.json['amount']}"]
            partner.waiting.append((answer.json["withdrawal_id"], available))
            account.pending_cents += available
        balance = self.program.get("/v2/partners/balance", partner.token).json
        return [f"{partner_id} balance{one}" for one in unlike(balance, answers.balance(partner_id, account))]

    def does(self, method: str, target: str, token: str, body: Mapping[str, Any] | None = None) -> None:
        """A call that succeeds."""
        answer = self.program.call(method, target, token, body)
        assert answer.status in (200, 201, 204), (method, target, answer)

    def starts_campaign(self, partner_id: str, chance: random.Random) -> None:
        partner = self.partner(partner_id)
        if len(partner.account.campaigns) == len(PROGRAM.products) and chance.random() < 0.3:
            product = chance.choice(list(PROGRAM.products))
            self.does("POST", "/v2/partners/affiliates/campaigns", partner.token, {**SPRING, "product": product})
            self.list_campaigns(partner)


@functools.cache
def all_histories() -> list[History]:
    """The histories of this run."""
    return drawn(HISTORIES, through_api=True)


@pytest.mark.parametrize("number", range(-(-HISTORIES // SIDE_BY_SIDE)))
def test_the_app_tells_each_partner_what_the_rules_give(
    number: int, empty_redis_url: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    """To the cent and the count, after every round, wherever loads and rounds die."""
    history = merged(all_histories()[number * SIDE_BY_SIDE : (number + 1) * SIDE_BY_SIDE])
    chance = random.Random(f"{SEED} {number}")
    choices: dict[str, Any] = {
        "rounds_after": chance.randrange(64),
        "entry_size": 100,
        "dies_before": chance.randrange(1, 30),
        "load_dies_before": chance.randrange(1, 50),
    }

    now_ms = LAST + chance.choice(LATER)

    def found(history: History) -> list[str]:
        empty(warehouse)
        with InProcess(empty_redis_url, warehouse, PROGRAM, tmp_path, now_ms) as program:
            delivery = Delivery(**choices, clock=lambda: program.now_ms)
            try:
                return Telling(program, warehouse, delivery, f"{SEED} {number}").problems(history)
            except Exception:
                return [traceback.format_exc()]

    if found(history):
        smaller = reduced(history, lambda tried: bool(found(tried)))
        pytest.fail("\n".join([repr(smaller), str(choices), *found(smaller)]), pytrace=False)


def test_every_call_that_has_figures_is_asked() -> None:
    """A call that is new and has a figure needs a question (partner_questions.py)."""
    chance = random.Random(1)
    asked = set()
    for history in all_histories():
        answers = Answers(history.facts, PROGRAM, LAST + LATELY)
        for partner_id in answers.partner_ids:
            account = Account(campaigns=[Campaign(1, f"pp_default_{name}", name, name) for name in PROGRAM.products])
            for target, _ in questions(answers, partner_id, account, [ALL], chance):
                path = target.partition("?")[0]
                asked |= {
                    name
                    for name, one in CONTRACT_OPERATIONS.items()
                    if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one.path), path)
                }
    with_figures = {name for name, one in CONTRACT_OPERATIONS.items() if one.method == "GET"} - WITHOUT_FIGURES
    assert sorted(with_figures - asked) == []
