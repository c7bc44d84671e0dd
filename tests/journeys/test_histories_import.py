"""Random histories through the real HTTP import, against the reference. See tests/test_histories.py."""

from __future__ import annotations

import itertools
import os
import random
import time
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.harness import ADMIN_TOKEN, Journey, Server, send
from tests.histories import DAY, START, histories, import_line
from tests.partner_answers import Answers
from tests.partner_figures import Account, Campaign
from tests.partner_questions import questions, unlike
from tests.periods import day_of, whole_days
from tests.reference import AnyFact, Outcome, once, outcome, without_zeros
from tracker.events import Clicked, Paid, SignedUp, SolutionLicenseCreated
from tracker.program import Program

PROGRAM = Program()
STAGES = ("qualified", "card_added", "paid", "expired")
EXAMPLES = {"quick": 15, "thorough": 200}[os.environ.get("HISTORIES_PROFILE", "quick")]
ASKED = 0.15  # of all that has a figure, of each partner
ALL = whole_days(day_of(START - DAY), day_of(START + 300 * DAY))
SEED = os.environ.get("HISTORIES_SEED")
_numbers = itertools.count(1)

# Each example needs ids that the server has not seen; they keep the order that the rules compare by.
checked = settings(
    max_examples=EXAMPLES,
    derandomize=SEED is None,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def maybe_seeded(test: Any) -> Any:
    return hypothesis.seed(int(SEED))(test) if SEED else test


@maybe_seeded
@checked
@given(data=st.data())
def test_imported_histories_equal_the_rules(server: Server, data: st.DataObject) -> None:
    history = data.draw(histories(next(_numbers), through_api=True))
    bulk = Journey(server)
    seen: list[AnyFact] = []
    try:
        for batch in history.batches:
            answer = bulk.import_lines([import_line(fact, history.emails) for fact in batch])
            fresh = len(once([*seen, *batch])) - len(once(seen))
            seen += batch
            assert answer["rejected"] == []
            assert (answer["accepted"], answer["duplicates"]) == (fresh, len(batch) - fresh)
            server.attributed()
            compare(server, seen, outcome(seen, PROGRAM))
        compare_funnels(server, seen, outcome(seen, PROGRAM))
        compare_figures(server, seen, random.Random(repr(history)))
    except AssertionError as error:
        error.add_note(repr(history))
        raise


def compare(server: Server, facts: list[AnyFact], expected: Outcome) -> None:
    """Ledger per payment, attribution per license, as the app tells them."""
    for payment in {fact.payment_id for fact in facts if isinstance(fact, Paid)}:
        found: dict[tuple[str, int, str], int] = {}
        for line in server.lines(payment_id=payment):
            key = (payment, line["tier"], line["partner_id"])
            found[key] = found.get(key, 0) + line["amount_cents"]
        assert without_zeros(found) == {key: cents for key, cents in expected.payments.items() if key[0] == payment}
    for license_id in {fact.license_id for fact in facts if isinstance(fact, SignedUp | SolutionLicenseCreated)}:
        told = server.admin(f"/v2/admin/licenses/{license_id}/attribution")
        bound = expected.bindings[license_id]
        assert (told["partner_id"] or "", told["reason"]) == (bound.partner_id, bound.reason), license_id
        recruiter = expected.recruiters.get(bound.partner_id, "")
        assert (told["recruiter_id"] or "") == recruiter, license_id


def compare_funnels(server: Server, facts: list[AnyFact], expected: Outcome) -> None:
    """R19, for each partner on their own."""
    clicks = {fact.click_id: fact for fact in facts if isinstance(fact, Clicked)}
    counted = [clicks[click_id] for click_id in expected.countable]
    for partner_id in expected.recruiters:
        own = [click for click in counted if click.partner_id == partner_id]
        won = [license_ for license_ in expected.funnel if clicks[license_.click_id].partner_id == partner_id]
        told = server.admin(
            "/v2/reports/funnel", partner_id=partner_id, date_from="2024-12-01", date_to="2025-12-31", group_by="none"
        )
        (item,) = told["items"]
        assert item == {
            "group": "",
            "clicks": len(own),
            "visitors": len({click.visitor_id for click in own}),
            "trials": len(won),
            **{stage: sum(stage in license_.stages for license_ in won) for stage in STAGES},
            "revenue_cents": sum(license_.revenue_cents for license_ in won),
        }, partner_id


def compare_figures(server: Server, facts: list[AnyFact], chance: random.Random) -> None:
    """What the app tells each partner over HTTP; tests/test_partner_figures.py has more of it."""
    now_ms = int(time.time() * 1000)
    answers = Answers(facts, PROGRAM, now_ms)
    for partner_id in answers.partner_ids:
        admin = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        path = f"/v2/admin/partners/{partner_id}/tokens"
        made = send(server.app_port, "POST", path, {"label": "figures"}, admin)
        assert made.status == 201, made.body
        bearer = {"Authorization": f"Bearer {made.json['token']}"}
        search = "/v2/partners/affiliates/campaigns/search?page=1&state=active"
        listed = send(server.app_port, "GET", search, None, bearer).json["results"]
        account = Account(campaigns=[Campaign(c["id"], c["slug"], c["name"], c["product"]) for c in listed])
        spans = (ALL, whole_days(day_of(START + 2 * DAY), day_of(START + 121 * DAY)))
        for target, expected in questions(answers, partner_id, account, spans, chance):
            if chance.random() < ASKED:
                told = send(server.app_port, "GET", target, None, bearer)
                assert told.status == 200, (target, told.body)
                assert unlike(told.json, expected) == [], (partner_id, target)
