"""A replay gives what the rounds gave, finds what is not so, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from attribution.audit import Audit, audit
from attribution.ledger import run_round
from attribution.replay import COMPARED, FACTS
from attribution.warehouse import Warehouse
from tests.attribution.fact_writer import (
    DAY,
    START,
    FactWriter,
    changed,
    clicked,
    joined,
    paid,
    rated,
    refunded,
    signed_up,
)
from tests.databases import empty
from tests.histories import History, merged_histories
from tests.reference import fact_id
from tracker.program import Program

PROGRAM = Program()
NOW = START + 400 * DAY


def replayed(warehouse: Warehouse) -> Audit:
    return audit(warehouse, PROGRAM, replays=True)


def found(result: Audit) -> dict[str, list[str]]:
    """Kind → subjects, of what the replay found."""
    kinds = {kind: [one.subject for one in result.findings if one.kind == kind] for kind in COMPARED}
    return {kind: subjects for kind, subjects in kinds.items() if subjects}


def scratch_databases(warehouse: Warehouse) -> list[str]:
    rows = warehouse.rows("select name from system.databases where name like '%_replay'")
    return [row["name"] for row in rows]


@pytest.fixture
def settled(warehouse: Warehouse) -> FactWriter:
    """A license that changes hands: B's click on day 40 is known only after the payment was attributed to A."""
    writer = FactWriter(warehouse)
    writer.load(joined("A"), joined("B", 1, recruiter="A"), clicked(1, "A", 2), signed_up("L", 50))
    writer.load(paid("p", "L", 2900, 60), changed("s", "A", 70, "suspended"))
    run_round(warehouse, PROGRAM, NOW)
    writer.load(clicked(2, "B", 40), refunded("r", "p", 900, 61), rated("e", "B", 55, 3333, 100))
    run_round(warehouse, PROGRAM, NOW)
    return writer


@settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(history=merged_histories(through_api=False))
def test_a_replay_gives_what_the_rounds_gave(history: History, warehouse: Warehouse) -> None:
    """However the facts came: a round after every batch, a replay at the end."""
    empty(warehouse)
    writer, known = FactWriter(warehouse), set()
    for batch in history.batches:
        new = {fact_id(fact): fact for fact in reversed(batch) if fact_id(fact) not in known}
        known |= new.keys()
        writer.load(*new.values())
        run_round(warehouse, PROGRAM, NOW)
    result = replayed(warehouse)
    assert result.is_replayed and result.is_clean, result
    assert {kind: result.finding_counts[kind] for kind in COMPARED} == dict.fromkeys(COMPARED, 0)


def test_corrections_do_not_matter_but_what_they_come_to(settled: FactWriter) -> None:
    warehouse = settled.warehouse
    assert warehouse.rows("select count() as n from ledger where kind = 'correction'")[0]["n"] > 0
    assert replayed(warehouse).is_clean
    assert scratch_databases(warehouse) == []


FORGERIES = {
    "replayed_ledger_differs": (
        "payment:p",
        "insert into ledger select * replace ('x' as entry_id, 1 as amount_cents) from ledger where tier = 1 limit 1",
    ),
    "replayed_binding_differs": (
        "L",
        "insert into binding_versions select * replace ('pp_autumn' as campaign) from binding_versions final"
        " where round = 2",
    ),
    "replayed_recruiter_differs": (
        "B",
        "insert into recruitment_versions select * replace ('R9' as rule) from recruitment_versions"
        " where partner_id = 'B'",
    ),
    "replayed_spans_differ": (
        "A",
        "insert into partner_spans select * replace ([] as spans) from partner_spans final where partner_id = 'A'",
    ),
    "replayed_standing_differs": (
        "B",
        "insert into standings select * replace ([] as rates) from standings final where partner_id = 'B'",
    ),
}
"""Kind of finding → its subject, and what makes it so."""


def test_what_is_forged_is_found(settled: FactWriter) -> None:
    """Most of it the audit's own SQL does not look at."""
    for _, statement in FORGERIES.values():
        settled.warehouse.run(statement)
    result = replayed(settled.warehouse)
    assert found(result) == {kind: [subject] for kind, (subject, _) in FORGERIES.items()}
    assert not result.is_clean
    assert scratch_databases(settled.warehouse) == []


def test_what_a_round_under_way_writes_is_nobody_s_business(settled: FactWriter) -> None:
    warehouse = settled.warehouse
    settled.load(refunded("r2", "p", 100, 62), changed("s2", "B", 1.5, "suspended"), is_finished=False)
    warehouse.run("insert into ledger select * replace ('next' as entry_id, 3 as round) from ledger limit 1")
    warehouse.run(
        "insert into standings select * replace ([] as rates, 3 as round) from standings where partner_id = 'B'"
    )
    assert replayed(warehouse).is_clean


def test_what_a_crash_left_behind_is_cleaned_up(settled: FactWriter) -> None:
    warehouse = settled.warehouse
    leftover = warehouse.sibling(f"{warehouse.database}_replay")
    leftover.migrate()
    FactWriter(leftover).load(joined("ghost"), signed_up("ghost license", 3))
    run_round(leftover, PROGRAM, NOW)
    leftover.close()
    assert replayed(warehouse).is_clean
    assert scratch_databases(warehouse) == []


def test_the_scratch_goes_when_the_replay_fails(settled: FactWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the round fails")

    monkeypatch.setattr("attribution.replay.run_round", fail)
    with pytest.raises(RuntimeError, match="the round fails"):
        replayed(settled.warehouse)
    assert scratch_databases(settled.warehouse) == []


def test_other_rules_are_seen(settled: FactWriter) -> None:
    """The replay goes by the program that it is given: one that was changed does not give the same ledger."""
    other = replace(PROGRAM, window_days=9)
    assert audit(settled.warehouse, other, replays=True).finding_counts["replayed_binding_differs"] == 1


def test_an_empty_program(warehouse: Warehouse) -> None:
    assert replayed(warehouse).is_clean


def test_every_table_of_facts_is_replayed(settled: FactWriter) -> None:
    """A table with `load_id` holds facts, or is the loader's own."""
    rows = settled.warehouse.rows(
        "select table from system.columns where database = currentDatabase() and name = 'load_id'"
    )
    own = {"loads", "quarantine", "quarantine_replays", "directory_entries"}
    assert {row["table"] for row in rows if not row["table"].startswith("incoming_")} - own == set(FACTS)
