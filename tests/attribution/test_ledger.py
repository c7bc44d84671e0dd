"""Rounds of attribution against the real engine: worked cases, any order of arrival, crashes, corrections."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from attribution import ledger
from attribution.audit import audit
from attribution.commission import commission_cents
from attribution.facts import QUERIES
from attribution.journal_lines import FACT_TABLES
from attribution.ledger import NEWS, News, run_round
from attribution.warehouse import Warehouse, load_queries
from tests.attribution.fact_writer import (
    DAY,
    START,
    AnyFact,
    FactWriter,
    Sums,
    changed,
    clicked,
    created,
    in_story,
    joined,
    ledger_sums,
    paid,
    rated,
    refunded,
    signed_up,
    transferred,
)
from tracker.program import Program

PROGRAM = Program()
REPORTS = load_queries(Path(__file__).parent.parent.parent / "reports" / "queries")
NOW = START + 400 * DAY
FOREVER = 9_999_999_999_999
"""The end of a span that is open (in 2286)."""

RECRUITED: list[AnyFact] = [
    joined("Q"),
    clicked(90, "Q", 0.5, visitor=9, product="partner_program"),
    joined("P", 1, visitor=9),
]
"""P, recruited by Q."""
LINK_LICENSE: list[AnyFact] = [*RECRUITED, clicked(1, "P", 2), signed_up("L", 3)]


def paid_case(cents: int) -> list[AnyFact]:
    return [*LINK_LICENSE, paid("p", "L", cents, 4)]


REFUNDED: list[AnyFact] = [*paid_case(2900), refunded("r1", "p", 1000, 5)]
CHARGED_BACK: list[AnyFact] = [*REFUNDED, refunded("r2", "p", 1900, 6, "chargeback")]
WON: list[AnyFact] = [*CHARGED_BACK, refunded("r3", "p", 1900, 7, "chargeback_won")]
A_THEN_B: list[AnyFact] = [
    joined("A"),
    joined("R"),
    joined("B", 1, recruiter="R"),
    clicked(1, "A", 0),
    clicked(2, "B", 30),
    signed_up("L", 31),
    paid("p", "L", 2900, 32),
]

FIRST, SECOND = ("payment:p", 1, "P"), ("payment:p", 2, "Q")
CASES: dict[str, tuple[Sequence[AnyFact], Sums]] = {
    "link license, P recruited by Q": (paid_case(2900), {FIRST: 580, SECOND: 145}),
    "1000 refunded": (
        REFUNDED,
        {FIRST: 580, SECOND: 145, ("refund:r1", 1, "P"): -200, ("refund:r1", 2, "Q"): -50},
    ),
    "the other 1900 charged back": (
        CHARGED_BACK,
        {
            FIRST: 580, SECOND: 145, ("refund:r1", 1, "P"): -200, ("refund:r1", 2, "Q"): -50,
            ("refund:r2", 1, "P"): -380, ("refund:r2", 2, "Q"): -95,
        },
    ),
    "the chargeback is won": (
        WON,
        {
            FIRST: 580, SECOND: 145, ("refund:r1", 1, "P"): -200, ("refund:r1", 2, "Q"): -50,
            ("refund:r2", 1, "P"): -380, ("refund:r2", 2, "Q"): -95,
            ("refund:r3", 1, "P"): 380, ("refund:r3", 2, "Q"): 95,
        },
    ),
    "paid 1990: 99.5 to even": (paid_case(1990), {FIRST: 398, SECOND: 100}),
    "paid 1970: 98.5 to even": (paid_case(1970), {FIRST: 394, SECOND: 98}),
    "the partner pays for a solution license": (
        [*RECRUITED, created("L", "P", 3, "partner"), paid("p", "L", 2320, 4)],
        {SECOND: 116},
    ),
    "no recruiter": ([joined("P"), clicked(1, "P", 2), signed_up("L", 3), paid("p", "L", 2900, 4)], {FIRST: 580}),
    "A on day 0, B on day 30, signup on day 31": (A_THEN_B, {("payment:p", 1, "B"): 580, ("payment:p", 2, "R"): 145}),
    "click on day 0, signup on day 121": (
        [joined("A"), clicked(1, "A", 0), signed_up("L", 121), paid("p", "L", 2900, 122)],
        {},
    ),
    "A's link leads B to join": (
        [
            joined("A"),
            clicked(1, "A", 1, visitor=7, product="livechat"),
            joined("B", 2, visitor=7),
            clicked(2, "B", 3, visitor=8),
            signed_up("L", 4, visitor=8),
            paid("p", "L", 2900, 5),
        ],
        {("payment:p", 1, "B"): 580, ("payment:p", 2, "A"): 145},
    ),
    "both ends of the window belong to it": (
        [joined("A"), clicked(1, "A", 0), signed_up("L", 120), paid("p", "L", 2900, 122)],
        {("payment:p", 1, "A"): 580},
    ),
    "a transfer: payments from that instant on follow the client rule": (
        [
            *RECRUITED, created("L", "P", 3, "partner"), paid("p", "L", 2320, 4), paid("p2", "L", 2900, 6),
            transferred("L", 6), transferred("L", 9, "t2"),
        ],
        {SECOND: 116, ("payment:p2", 1, "P"): 580, ("payment:p2", 2, "Q"): 145},
    ),
    "P suspended at the payment: the recruiter still earns; the refund follows the payment": (
        [
            *paid_case(2900), changed("e1", "P", 3.5, "suspended"), changed("e2", "P", 4.5, "reinstated"),
            refunded("r1", "p", 1000, 5),
        ],
        {SECOND: 145, ("refund:r1", 2, "Q"): -50},
    ),
    "the recruiter suspended at the payment": (
        [*paid_case(2900), changed("e1", "Q", 4, "suspended")],
        {FIRST: 580},
    ),
    "rates of their own until an exclusive end; a reversal at the payment's percent": (
        [
            *paid_case(2900), rated("e1", "P", 3, 1250, 100, until_day=5), rated("e2", "Q", 3, 100, 333),
            paid("p2", "L", 2900, 5), refunded("r1", "p", 2900, 6),
        ],
        {
            ("payment:p", 1, "P"): 362, ("payment:p", 2, "Q"): 97, ("payment:p2", 1, "P"): 580,
            ("payment:p2", 2, "Q"): 97, ("refund:r1", 1, "P"): -362, ("refund:r1", 2, "Q"): -97,
        },
    ),
    "self-referral earns nobody anything, and no older click takes its place": (
        [
            *RECRUITED, joined("A"), clicked(1, "A", 2), clicked(2, "P", 2.5), signed_up("L", 3, email="hash of P"),
            paid("p", "L", 2900, 4),
        ],
        {},
    ),
    "a solution license of a partner who is not known earns nobody anything": (
        [created("L", "ghost", 3, "client"), paid("p", "L", 2900, 4)],
        {},
    ),
    "the site named the partner, who was active": (
        [*RECRUITED, signed_up("L", 3, hint="P"), paid("p", "L", 2900, 4)],
        {FIRST: 580, SECOND: 145},
    ),
    "the partner whom the site named was suspended": (
        [*RECRUITED, changed("e1", "P", 2, "suspended"), signed_up("L", 3, hint="P"), paid("p", "L", 2900, 4)],
        {},
    ),
    "a click beats the name, and a bot is no click": (
        [
            joined("A"), joined("P"), clicked(1, "A", 1), clicked(2, "P", 2, verdict="bot"),
            signed_up("L", 3, hint="P"), paid("p", "L", 2900, 4),
        ],
        {("payment:p", 1, "A"): 580},
    ),
    "clicks before the join and while suspended do not count; an older one wins": (
        [
            joined("A"), joined("B"), joined("C", 2.5), changed("e1", "B", 1, "suspended"), clicked(1, "A", 1),
            clicked(2, "B", 2), clicked(3, "C", 2.4), signed_up("L", 3), paid("p", "L", 2900, 4),
        ],
        {("payment:p", 1, "A"): 580},
    ),
    "equal times: the greater click id as text wins": (
        [joined("A"), joined("B"), clicked(2, "A", 1), clicked(1, "B", 1), signed_up("L", 3), paid("p", "L", 2900, 4)],
        {("payment:p", 1, "A"): 580},
    ),
    "a partner is never recruited by themself, nor by one with their e-mail": (
        [
            joined("P", 1, visitor=9), clicked(1, "P", 1, visitor=9), joined("Q", 0, email="same"),
            joined("A", 1, email="same", recruiter="Q"), created("L", "A", 2, "client"),
            created("L2", "P", 2, "client"), paid("p", "L", 2900, 4), paid("p2", "L2", 100, 4),
        ],
        {("payment:p", 1, "A"): 580, ("payment:p2", 1, "P"): 20},
    ),
    "more comes back than was paid": (
        [*paid_case(2900), refunded("r1", "p", 2900, 5), refunded("r2", "p", 2900, 6), refunded("r3", "p", 100, 7)],
        {FIRST: 580, SECOND: 145, ("refund:r1", 1, "P"): -580, ("refund:r1", 2, "Q"): -145},
    ),
}  # fmt: skip


def assert_clean(warehouse: Warehouse) -> None:
    result = audit(warehouse, PROGRAM)
    assert result.is_clean, (result.differences, result.findings)


def test_worked_cases(warehouse: Warehouse) -> None:
    """Every row of PROGRAM.md's table and more, each as a story, all in one load."""
    facts = [in_story(number, fact) for number, (story, _) in enumerate(CASES.values()) for fact in story]
    FactWriter(warehouse).load(*facts)
    done = run_round(warehouse, PROGRAM, NOW)
    sums = ledger_sums(warehouse)
    assert {name: sums.get(number, {}) for number, name in enumerate(CASES)} == {
        name: expected for name, (_, expected) in CASES.items()
    }
    assert_clean(warehouse)
    assert done is not None and done.lines == warehouse.rows("select count() as n from ledger")[0]["n"]
    assert run_round(warehouse, PROGRAM, NOW) is None


ORDERS_PER_CASE = 24
"""A case of five facts or fewer has at most 120 orders; these are sampled like all."""


def test_any_order_of_arrival(warehouse: Warehouse) -> None:
    """Each fact in a load of its own, a round and an audit after each; all cases in many orders, side by side."""
    stories: dict[int, tuple[str, list[AnyFact]]] = {}
    for name, (facts, _) in CASES.items():
        for order in arrival_orders(list(facts)):
            stories[len(stories)] = (name, order)
    writer = FactWriter(warehouse)
    for step in range(max(len(facts) for facts, _ in CASES.values())):
        writer.load(*(in_story(number, order[step]) for number, (_, order) in stories.items() if step < len(order)))
        run_round(warehouse, PROGRAM, NOW + step)
        assert_clean(warehouse)
    sums = ledger_sums(warehouse)
    wrong = {
        f"{name}: {order}": sums.get(number, {})
        for number, (name, order) in stories.items()
        if sums.get(number, {}) != CASES[name][1]
    }
    assert not wrong


def arrival_orders(facts: list[AnyFact]) -> list[list[AnyFact]]:
    """All orders of a few facts; of many, the given one, its reverse, and a sample."""
    if math.factorial(len(facts)) <= ORDERS_PER_CASE:
        return [list(order) for order in itertools.permutations(facts)]
    chance = random.Random(7)
    return [facts, facts[::-1], *(chance.sample(facts, len(facts)) for _ in range(ORDERS_PER_CASE - 2))]


def test_all_orders_of_a_small_story(warehouse: Warehouse) -> None:
    """Join, click, signup, payment and refund in all 120 orders."""
    facts: list[AnyFact] = [joined("P"), clicked(1, "P", 2), signed_up("L", 3), paid("p", "L", 2900, 4)]
    facts.append(refunded("r", "p", 1000, 5))
    orders = list(itertools.permutations(facts))
    writer = FactWriter(warehouse)
    for step in range(len(facts)):
        writer.load(*(in_story(number, order[step]) for number, order in enumerate(orders)))
        run_round(warehouse, PROGRAM, NOW + step)
    expected = {("payment:p", 1, "P"): 580, ("refund:r", 1, "P"): -200}
    assert ledger_sums(warehouse) == dict.fromkeys(range(len(orders)), expected)
    assert_clean(warehouse)


class Died(Exception):
    """The process is gone."""


class Mortal:
    """A warehouse whose process dies right before its n-th write. Between two writes it does not matter when; emptying
    scratch is none."""

    def __init__(self, warehouse: Warehouse, writes: int) -> None:
        self.warehouse = warehouse
        self.writes_left = writes

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.warehouse, name)
        if name == "rows":
            return method

        def write(*arguments: object, **parameters: object) -> object:
            if str(arguments[0]).startswith("truncate"):
                return method(*arguments, **parameters)
            if not self.writes_left:
                raise Died
            self.writes_left -= 1
            return method(*arguments, **parameters)

        return write


BEFORE: list[AnyFact] = [
    joined("Q"), joined("R"), joined("P", 1, visitor=9), clicked(1, "P", 2), signed_up("L", 3), paid("p", "L", 2900, 4),
    joined("A"), joined("B", 1, recruiter="P"), created("S", "B", 2, "client"), paid("s", "S", 1990, 5),
]  # fmt: skip
LATE: list[AnyFact] = [
    clicked(2, "A", 2.5), clicked(90, "Q", 0.5, visitor=9), refunded("r", "p", 900, 5), rated("e", "B", 4, 1000, 100),
]  # fmt: skip
LATER: list[AnyFact] = [refunded("r0", "p", 100, 4.5), changed("e2", "P", 4, "suspended")]


def lines_of(warehouse: Warehouse, story: int) -> list[tuple[Any, ...]]:
    """Everything that a story's published lines say, but for their ids, rounds and times of posting."""
    rows = warehouse.rows(
        "select occurred_at, replaceAll(partner_id, {suffix:String}, '') as partner_id, tier, kind, money_event_id,"
        " referred_id, basis_cents, percent_hundredths, amount_cents, replaceAll(reason, {suffix:String}, '') as reason"
        " from ledger where endsWith(license_id, {suffix:String}) and round <= (select max(round) from rounds)"
        " order by all",
        suffix=f".{story}",
    )
    return [tuple(str(value).replace(f".{story}", "") for value in row.values()) for row in rows]


def test_a_round_that_dies_anywhere_is_done_again(warehouse: Warehouse) -> None:
    """Death before every write of a round, then another try: the lines are those of an undisturbed round."""
    writer, stories = FactWriter(warehouse), 40
    writer.load(*(in_story(number, fact) for number in range(stories) for fact in BEFORE))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*(in_story(0, fact) for fact in LATE))
    assert run_round(warehouse, PROGRAM, NOW)
    undisturbed = lines_of(warehouse, 0)
    assert len(undisturbed) == 7
    for story in range(1, stories):
        writer.load(*(in_story(story, fact) for fact in LATE))
        mortal = Mortal(warehouse, writes=story - 1)
        try:
            run_round(mortal, PROGRAM, NOW + story)  # type: ignore[arg-type]
        except Died:
            assert_no_hole(warehouse, stories)
            run_round(warehouse, PROGRAM, NOW + story)
        assert lines_of(warehouse, story) == undisturbed, f"died before write {story}"
        if mortal.writes_left:
            break
    else:
        pytest.fail("a round makes more writes than this test has stories")
    assert_current(warehouse)
    assert_clean(warehouse)


def test_a_round_that_dies_while_it_posts(warehouse: Warehouse) -> None:
    """Many lines are written in several parts: a process may die when some of them are there."""

    class DiesWhilePosting:
        def __getattr__(self, name: str) -> Any:
            return getattr(warehouse, name)

        def run(self, query: str, /, **parameters: object) -> None:
            warehouse.run(query, **parameters)
            if query == QUERIES["ledger_post"]:
                warehouse.run("alter table ledger delete where round = 2 and cityHash64(entry_id) % 2 = 0")
                raise Died

    writer, stories = FactWriter(warehouse), 20
    writer.load(*(in_story(0, fact) for fact in BEFORE))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*(in_story(number, fact) for number in range(1, stories) for fact in BEFORE))
    with pytest.raises(Died):
        run_round(DiesWhilePosting(), PROGRAM, NOW)  # type: ignore[arg-type]
    left = warehouse.rows("select count() as lines from ledger where round = 2")[0]["lines"]
    assert 0 < left < (stories - 1) * len(lines_of(warehouse, 0))
    run_round(warehouse, PROGRAM, NOW)
    for number in range(1, stories):
        assert lines_of(warehouse, number) == lines_of(warehouse, 0), number
    assert_clean(warehouse)


def test_a_round_that_dies_and_meets_more_facts(warehouse: Warehouse) -> None:
    """The second try may see loads that the first did not; sums are the same and the audit is clean."""
    writer, expected = FactWriter(warehouse), None
    deaths = [0, 4, 6, 8, 9, 10, 11]
    writer.load(*(in_story(number, fact) for number in deaths for fact in BEFORE))
    run_round(warehouse, PROGRAM, NOW)
    for writes in deaths:
        writer.load(*(in_story(writes, fact) for fact in LATE))
        if writes:
            with pytest.raises(Died):
                run_round(Mortal(warehouse, writes), PROGRAM, NOW)  # type: ignore[arg-type]
        writer.load(*(in_story(writes, fact) for fact in LATER))
        run_round(warehouse, PROGRAM, NOW)
        sums = ledger_sums(warehouse)
        expected = expected or sums[writes]
        assert sums[writes] == expected
    assert_clean(warehouse)
    assert_current(warehouse)


def test_a_license_that_a_second_try_gives_to_somebody_else(warehouse: Warehouse) -> None:
    """The first try knew another recruiter of its partner alone; that partner is not shown it any more."""
    writer, deaths = FactWriter(warehouse), range(4, 12)
    writer.load(*(in_story(number, fact) for number in deaths for fact in BEFORE))
    run_round(warehouse, PROGRAM, NOW)
    for writes in deaths:
        writer.load(in_story(writes, clicked(90, "Q", 0.5, visitor=9)))
        with pytest.raises(Died):
            run_round(Mortal(warehouse, writes), PROGRAM, NOW)  # type: ignore[arg-type]
        writer.load(in_story(writes, clicked(2, "A", 2.5)))
        run_round(warehouse, PROGRAM, NOW)
        assert_current(warehouse)
    assert_clean(warehouse)


def test_what_readers_see_between_publishing_and_applying(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sums of money are the published round's at once; what the applied tables say of single licenses is the round
    before's, until the next start, which applies before it does anything else."""

    def sums() -> list[int]:
        balance, days = (
            warehouse.rows(REPORTS["partner_balance"], partner_ids=["P"], by_day=by_day, now_ms=NOW)
            for by_day in (0, 1)
        )
        lines = warehouse.rows(
            "select sum(amount_cents) as cents from ledger where partner_id = 'P'"
            " and round <= (select max(round) from rounds)"
        )
        return [
            sum(row["commission_cents"] for row in balance),
            sum(row["commission_cents"] for row in days),
            lines[0]["cents"],
        ]

    def licenses() -> list[tuple[str, int]]:
        page = {"license_id": "", "now_ms": NOW, "before_ms": FOREVER, "before_id": "", "most": 10, "trial_days": 14}
        rows = warehouse.rows(REPORTS["partner_licenses"], partner_id="P", **page)
        return [(row["license_id"], row["earned_cents"]) for row in rows]

    writer = FactWriter(warehouse)
    writer.load(*paid_case(2900))
    run_round(warehouse, PROGRAM, NOW)
    before = published(warehouse)
    writer.load(
        clicked(2, "P", 2, visitor=2), signed_up("L2", 3, visitor=2), paid("p2", "L2", 1000, 4), paid("p3", "L", 100, 4)
    )
    for stopped_before in ("rounds", "applied"):
        with monkeypatch.context() as patch:
            if stopped_before == "rounds":
                patch.setattr(warehouse, "insert", dies)
            else:
                patch.setattr(ledger, "_apply", dies)
            with pytest.raises(Died):
                run_round(warehouse, PROGRAM, NOW)
        if stopped_before == "rounds":
            assert (published(warehouse), sums(), licenses()) == (before, [580] * 3, [("L", 580)])
    assert (published(warehouse), sums(), licenses()) == (before + 1, [800] * 3, [("L", 600)])
    run_round(warehouse, PROGRAM, NOW)
    assert (published(warehouse), sums(), sorted(licenses())) == (before + 1, [800] * 3, [("L", 600), ("L2", 200)])
    assert_current(warehouse)
    assert_clean(warehouse)


def published(warehouse: Warehouse) -> int:
    newest: int = warehouse.rows("select max(round) as newest from rounds")[0]["newest"]
    return newest


def dies(*_: object, **__: object) -> None:
    raise Died


def assert_no_hole(warehouse: Warehouse, licenses: int) -> None:
    """Readers see a whole round or none of it: every license has exactly one current binding."""
    shown = warehouse.rows("select count() as n from bindings final where startsWith(license_id, 'L')")[0]["n"]
    assert shown == licenses


def assert_current(warehouse: Warehouse) -> None:
    """The current tables are the newest published versions."""
    for current, versions, key in (
        ("bindings", "binding_versions", "license_id"),
        ("recruitments", "recruitment_versions", "partner_id"),
    ):
        newest = f"select * from {versions} final order by {key}, round desc limit 1 by {key}"
        for one, other in ((f"select * from {current} final", newest), (newest, f"select * from {current} final")):
            assert warehouse.rows(f"select * from ({one}) except select * from ({other})") == []
    ours = "select * except is_current from partner_bindings final where is_current"
    current = "select * from bindings final where partner_id != ''"
    for one, other in ((ours, current), (current, ours)):
        assert warehouse.rows(f"select * from ({one}) except select * from ({other})") == []


def test_only_finished_loads_are_seen(warehouse: Warehouse) -> None:
    """A load under way holds back itself and those after it, though its rows are there already."""
    writer = FactWriter(warehouse)
    assert run_round(warehouse, PROGRAM, NOW) is None
    writer.load(*(in_story(0, fact) for fact in paid_case(2900)))
    second = writer.load(in_story(0, refunded("r1", "p", 2900, 5)), is_finished=False)
    writer.begin(second)
    writer.load(in_story(0, refunded("r2", "p", 2900, 6)))
    done = run_round(warehouse, PROGRAM, NOW)
    assert done is not None and (done.after_load, done.through_load) == (0, 1)
    assert ledger_sums(warehouse) == {0: {FIRST: 580, SECOND: 145}}
    assert_clean(warehouse)
    assert run_round(warehouse, PROGRAM, NOW) is None
    writer.finish(second)
    done = run_round(warehouse, PROGRAM, NOW)
    assert done is not None and (done.round, done.through_load) == (2, 3)
    assert sum(ledger_sums(warehouse)[0].values()) == 0
    assert_clean(warehouse)


def test_a_round_in_parts(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """More licenses and payments than are decided at once: by the hash of the license."""
    monkeypatch.setattr(ledger, "FACTS_PER_PART", 3)
    writer = FactWriter(warehouse)
    writer.load(*(in_story(number, fact) for number in range(8) for fact in WON))
    done = run_round(warehouse, PROGRAM, NOW)
    assert done is not None and (done.partners, done.licenses, done.lines) == (16, 8, 64)
    assert ledger_sums(warehouse) == dict.fromkeys(range(8), CASES["the chargeback is won"][1])
    writer.load(*(in_story(number, clicked(2, "Q", 2.5)) for number in range(8)))
    run_round(warehouse, PROGRAM, NOW)
    cents = {"payment:p": 580, "refund:r1": -200, "refund:r2": -380, "refund:r3": 380}
    moved = {(event, 1, "Q"): amount for event, amount in cents.items()}
    assert ledger_sums(warehouse) == dict.fromkeys(range(8), moved)
    assert_clean(warehouse)


STANDING: list[AnyFact] = [joined("A"), joined("B"), *LINK_LICENSE, paid("p", "L", 2900, 4)]
CORRECTIONS: dict[str, tuple[AnyFact, set[tuple[str, int, int, str]]]] = {
    "a late click": (
        clicked(2, "A", 2.5),
        {
            ("P", 1, -580, "binding moved from P to A (R16: a late click)"),
            ("A", 1, 580, "binding moved from P to A (R16: a late click)"),
            ("Q", 2, -145, "binding moved from P to A (R16: a late click)"),
        },
    ),
    "a suspension before the click": (
        changed("e", "P", 1.5, "suspended"),
        {
            ("P", 1, -580, "binding moved from P to nobody (R16: a click that no longer counts)"),
            ("Q", 2, -145, "binding moved from P to nobody (R16: a click that no longer counts)"),
        },
    ),
    "a suspension before the payment": (
        changed("e", "P", 3.5, "suspended"),
        {("P", 1, -580, "partner_suspended (R11)")},
    ),
    "a rate": (rated("e", "P", 3.5, 1000, 500), {("P", 1, -290, "rate changed from 20 % to 10 % (R10)")}),
    "another recruiter": (
        clicked(91, "B", 0.7, visitor=9),
        {
            ("Q", 2, -145, "recruiter of P moved from Q to B (R16: a late fact)"),
            ("B", 2, 145, "recruiter of P moved from Q to B (R16: a late fact)"),
        },
    ),
}  # fmt: skip


def test_corrections_name_what_changed(warehouse: Warehouse) -> None:
    writer = FactWriter(warehouse)
    writer.load(*(in_story(number, fact) for number in range(len(CORRECTIONS)) for fact in STANDING))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*(in_story(number, late) for number, (late, _) in enumerate(CORRECTIONS.values())))
    run_round(warehouse, PROGRAM, NOW + 1)
    found: dict[str, set[tuple[str, int, int, str]]] = {name: set() for name in CORRECTIONS}
    for row in warehouse.rows(
        "select license_id, partner_id, tier, amount_cents, reason, kind from ledger where round = 2"
    ):
        story = row["license_id"].rpartition(".")[2]
        assert row["kind"] == "correction"
        said = (row["partner_id"], row["tier"], row["amount_cents"], row["reason"].replace(f".{story}", ""))
        found[list(CORRECTIONS)[int(story)]].add((said[0].rpartition(".")[0], *said[1:]))
    assert found == {name: expected for name, (_, expected) in CORRECTIONS.items()}


def test_a_late_refund_before_another_corrects_by_the_cent(warehouse: Warehouse) -> None:
    """R8, R9: lines are differences of rounded nets, so the order of events moves a cent."""
    writer = FactWriter(warehouse)
    writer.load(*(in_story(0, fact) for fact in [*paid_case(2900), refunded("r2", "p", 2, 6)]))
    run_round(warehouse, PROGRAM, NOW)
    assert ledger_sums(warehouse)[0] == {FIRST: 580, SECOND: 145}
    writer.load(in_story(0, refunded("r1", "p", 1, 5)))
    run_round(warehouse, PROGRAM, NOW)
    rows = warehouse.rows("select money_event_id, tier, kind, amount_cents from ledger where round = 2 order by all")
    assert [tuple(row.values()) for row in rows] == [("refund:r2.0", 1, "refund", -1)]
    assert_clean(warehouse)


def test_the_second_tier_names_the_partner_whose_license_paid(warehouse: Warehouse) -> None:
    """A license moves between two partners of one recruiter: Q's totals per referred partner move too (R20)."""
    writer = FactWriter(warehouse)
    story: list[AnyFact] = [
        *RECRUITED,
        joined("O", 1, recruiter="Q"),
        clicked(1, "P", 2),
        signed_up("L", 3),
        paid("p", "L", 2900, 4),
    ]
    writer.load(*(in_story(0, fact) for fact in story))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(in_story(0, clicked(2, "O", 2.5)))
    run_round(warehouse, PROGRAM, NOW)
    rows = warehouse.rows(
        "select partner_id, referred_id, sum(amount_cents) as cents from ledger where tier = 2"
        " group by all order by all"
    )
    assert [tuple(row.values()) for row in rows] == [("Q.0", "O.0", 145), ("Q.0", "P.0", 0)]
    assert_clean(warehouse)


ROUNDED_AT = (1, 333, 500, 1250, 2000, 3333, 9999, 10_000)
"""Percents in hundredths. At 1, 20,000 amounts leave every rest that rounding looks at, of odd and even cents."""
LARGEST_CENTS = 1_000_000_000
"""The largest payment that is taken."""


def test_sql_rounds_as_python_does(warehouse: Warehouse) -> None:
    """R9: over every rest of the division, at both ends of the amounts, for partners of different percents."""
    writer = FactWriter(warehouse)
    for percent in ROUNDED_AT:
        name = f"P{percent}"
        writer.load(joined(name), rated(f"e{percent}", name, 1, percent, 0), created(f"L{percent}", name, 2, "client"))
        warehouse.run(
            "insert into payments (payment_id, license_id, paid_at, amount_cents, currency, load_id) with arrayJoin("
            " arrayConcat(range(1, {small:UInt32}), arrayMap(below -> {largest:UInt32} - below, range(201)))) as cents"
            " select concat({license_id:String}, '-', toString(cents)), {license_id:String},"
            " fromUnixTimestamp64Milli({paid_at:Int64}, 'UTC'), cents, 'USD', {load_id:UInt64}",
            small=20_001 if percent == 1 else 2_001,
            largest=LARGEST_CENTS,
            license_id=f"L{percent}",
            paid_at=NOW,
            load_id=writer.load_id,
        )
    run_round(warehouse, PROGRAM, NOW)
    rows = warehouse.rows(
        "select payments.license_id as license_id, payments.amount_cents as paid, sum(ledger.amount_cents) as earned"
        " from payments left join ledger on ledger.payment_id = payments.payment_id"
        " group by payments.payment_id, license_id, paid"
    )
    assert len(rows) == 20_000 + 7 * 2_000 + 8 * 201
    wrong = [row for row in rows if row["earned"] != commission_cents(row["paid"], int(row["license_id"][1:]))]
    assert wrong == []
    assert_clean(warehouse)


def test_a_data_folder_of_a_former_version_is_decided_again(clickhouse_url: str, tmp_path: Path) -> None:
    """Rounds in Python kept no standings and no moments: the first round after the upgrade is over everything."""
    schema = Path(ledger.__file__).with_name("schema")
    for path in schema.glob("00[1-5]_*.sql"):
        shutil.copy(path, tmp_path)
    warehouse = Warehouse.open(clickhouse_url, database=f"test_{uuid.uuid4().hex[:12]}")
    warehouse.migrate(tmp_path)
    writer = FactWriter(warehouse, counts_days=False)
    writer.load(*(in_story(0, fact) for fact in LINK_LICENSE))
    warehouse.insert("rounds", ["round", "through_load", "lines", "published_at"], [[5, 1, 0, NOW]])
    warehouse.migrate()
    done = run_round(warehouse, PROGRAM, NOW)
    assert done is not None and (done.round, done.after_load, done.through_load, done.partners) == (6, 0, 1, 2)
    writer.load(*(in_story(0, fact) for fact in paid_case(2900) if fact not in LINK_LICENSE))
    done = run_round(warehouse, PROGRAM, NOW)
    assert done is not None and (done.round, done.after_load, done.lines) == (7, 1, 2)
    assert run_round(warehouse, PROGRAM, NOW) is None
    assert_clean(warehouse)
    warehouse.drop()
    warehouse.close()


def test_spans_of_partners_are_kept(warehouse: Warehouse) -> None:
    writer = FactWriter(warehouse)
    writer.load(joined("P", 1), changed("e1", "P", 3, "suspended"), changed("e2", "ghost", 3, "suspended"))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(changed("e3", "P", 5, "reinstated"))
    run_round(warehouse, PROGRAM, NOW)
    rows = warehouse.rows(
        "select partner_id, arrayMap(s -> (toUnixTimestamp64Milli(s.1), toUnixTimestamp64Milli(s.2)), spans) as spans"
        " from partner_spans final"
    )
    spans = [(START + DAY, START + 3 * DAY), (START + 5 * DAY, FOREVER)]
    assert rows == [{"partner_id": "P", "spans": spans}]


def test_nothing_new_is_cheap(warehouse: Warehouse) -> None:
    """Clicks of visitors who never signed up: a handful of statements, whatever the history."""
    writer = FactWriter(warehouse)
    writer.load(*(in_story(0, fact) for fact in paid_case(2900)))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(*(clicked(number, "P.0", 5, visitor=1000 + number) for number in range(500)))
    counting = Counting(warehouse)
    done = run_round(counting, PROGRAM, NOW)  # type: ignore[arg-type]
    assert done is not None and (done.licenses, done.partners, done.lines) == (0, 0, 0)
    assert counting.calls <= 6


class Counting:
    """A warehouse that counts its calls."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.warehouse, name)


def test_news_are_what_a_round_would_look_for(warehouse: Warehouse) -> None:
    counted = warehouse.rows(QUERIES["ledger_news"], after_load=0, through_load=0)[0]
    assert set(NEWS) == set(counted)
    assert set(NEWS.values()) == {"click", *FACT_TABLES} - {"license_event", "subscription_event"}


def test_a_round_that_is_told_the_news_does_what_one_that_looks_does(warehouse: Warehouse) -> None:
    writer = FactWriter(warehouse)
    writer.load(joined("A"), joined("B"), clicked(1, "A", 1), signed_up("L", 3))
    first = run_round(warehouse, PROGRAM, NOW)
    assert first is not None
    writer.load(paid("p", "L", 2900, 4))
    load = writer.load(clicked(2, "B", 2), changed("s", "A", 3.5, "suspended"))
    told = run_round(warehouse, PROGRAM, NOW, News(first, load, {"payment": 1, "click": 1, "partner_event": 1}))
    assert told is not None and (told.round, told.after_load, told.through_load) == (2, 1, load)
    assert ledger_sums_of(warehouse) == {("B", 1): 580}
    assert run_round(warehouse, PROGRAM, NOW) is None
    assert audit(warehouse, PROGRAM).is_clean


def ledger_sums_of(warehouse: Warehouse) -> dict[tuple[str, int], int]:
    """Partner and tier → what the ledger says, of a warehouse with one story."""
    rows = warehouse.rows("select partner_id, tier, sum(amount_cents) as cents from ledger group by all")
    return {(row["partner_id"], row["tier"]): row["cents"] for row in rows if row["cents"]}
