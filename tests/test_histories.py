"""Random histories through the real journal, loader, bindings and ledger, against the reference.

`HISTORIES_PROFILE=thorough` tries many more of them; `HISTORIES_SEED=n` tries others than every run does.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from attribution.audit import audit
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.warehouse import Warehouse
from tests.histories import History, merged_histories, reduced
from tests.reference import AnyFact, Outcome, once, outcome, without_zeros
from tracker import redis_keys
from tracker.events import Clicked, click_row, fact_row
from tracker.ids import NIL_UUID
from tracker.program import Program

PROGRAM = Program()
EXAMPLES = {"quick": 25, "thorough": 300}[os.environ.get("HISTORIES_PROFILE", "quick")]
SEED = os.environ.get("HISTORIES_SEED")
checked = settings(
    max_examples=EXAMPLES,
    derandomize=SEED is None,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # `reduced` knows better what to leave out, and is quicker
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)

LEDGER = """
select money_event_id, payment_id, tier, partner_id, sum(amount_cents) as cents
from ledger
where round <= (select max(round) from rounds)
group by money_event_id, payment_id, tier, partner_id
"""
BINDINGS = """
select license_id, partner_id, toString(click_id) as click, reason
from bindings final
where round <= (select max(round) from rounds)
"""
RECRUITMENTS = """
select partner_id, recruiter_id
from recruitments final
where round <= (select max(round) from rounds)
"""
TABLES = """
select name
from system.tables
where database = currentDatabase() and engine like '%MergeTree' and name != 'schema_versions'
"""


def now_ms() -> int:
    return int(time.time() * 1000)


def deliver(client: redis.Redis, facts: Sequence[AnyFact], entry_size: int) -> None:
    """Append facts to the journal as the tracker does (docs/architecture.md), `entry_size` at most in an entry."""
    clicks: dict[int, list[str]] = defaultdict(list)
    others: list[str] = []
    for fact in facts:
        if isinstance(fact, Clicked):
            clicks[redis_keys.shard_of(fact.visitor_id or fact.click_id)].append(click_row(fact))
        else:
            others.append(fact_row(fact))
    for shard, rows in clicks.items():
        for chunk in chunks(rows, entry_size):
            client.xadd(redis_keys.click_journal(shard), {"clicks": "".join(chunk), "n": len(chunk)})
        client.hincrby(redis_keys.click_counts(shard), "accepted", len(rows))
    for chunk in chunks(others, entry_size):
        client.xadd(redis_keys.FACT_JOURNAL, {"facts": "\n".join(chunk), "n": len(chunk)})
    client.hincrby(redis_keys.FACT_COUNTS, "accepted", len(others))


def chunks(rows: list[str], size: int) -> list[list[str]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def stored_outcome(warehouse: Warehouse) -> Outcome:
    """What the product's tables say, as the reference says it. Only what they can be compared by."""
    found = Outcome()
    for row in warehouse.rows(LEDGER):
        event = (row["money_event_id"], row["tier"], row["partner_id"])
        payment = (row["payment_id"], row["tier"], row["partner_id"])
        found.events[event] = found.events.get(event, 0) + row["cents"]
        found.payments[payment] = found.payments.get(payment, 0) + row["cents"]
    found.events, found.payments = without_zeros(found.events), without_zeros(found.payments)
    for row in warehouse.rows(BINDINGS):
        click_id = "" if row["click"] == NIL_UUID else row["click"]
        found.bindings[row["license_id"]] = (row["partner_id"], click_id, row["reason"])  # type: ignore[assignment]
    found.recruiters = {row["partner_id"]: row["recruiter_id"] for row in warehouse.rows(RECRUITMENTS)}
    return found


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """One line per key on which the product and the rules differ."""
    bindings = {name: (b.partner_id, b.click_id, b.reason) for name, b in expected.bindings.items()}
    pairs: list[tuple[str, Mapping[Any, Any], Mapping[Any, Any]]] = [
        ("binding", found.bindings, bindings),
        ("recruiter", found.recruiters, expected.recruiters),
        ("ledger by event", found.events, expected.events),
        ("ledger by payment", found.payments, expected.payments),
    ]
    return [
        f"{what} {key}: the product has {left.get(key)}, the rules give {right.get(key)}"
        for what, left, right in pairs
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def problems(client: redis.Redis, warehouse: Warehouse, arrived: Sequence[AnyFact]) -> list[str]:
    """Whether everything that arrived is accounted for, and the tables say what the rules give on it."""
    stored_progress: dict[bytes, bytes] = client.hgetall(redis_keys.PROGRESS)  # type: ignore[assignment]
    progress = {name.decode(): int(value) for name, value in stored_progress.items()}
    stored = len(once(arrived))
    expected = {"stored": stored, "duplicates": len(arrived) - stored, "quarantined": 0}
    return [
        f"progress: {name} is {progress.get(name, 0)}, not {count}"
        for name, count in expected.items()
        if progress.get(name, 0) != count
    ] + differences(stored_outcome(warehouse), outcome(arrived, PROGRAM))


def audit_problems(warehouse: Warehouse, arrived: Sequence[AnyFact]) -> list[str]:
    """Whether `lasttouch audit` is clean, and lists the payments of which too much came back."""
    report = audit(warehouse, PROGRAM)
    listed = {finding.subject for finding in report.findings if finding.kind == "exceeds_payment"}
    found = [] if report.is_clean else [f"the audit is not clean: {report}"]
    if listed != outcome(arrived, PROGRAM).exceeding:
        found.append(f"exceeds_payment lists {listed}, not {outcome(arrived, PROGRAM).exceeding}")
    return found


@dataclass(frozen=True)
class Delivery:
    """How a history comes. Bit n of `rounds_after` says whether a round follows batch n; one follows the last."""

    rounds_after: int
    entry_size: int

    def problems(self, history: History, client: redis.Redis, warehouse: Warehouse) -> list[str]:
        """What is wrong after the first round that leaves anything wrong. An exception is a problem too."""
        client.flushall()
        empty(warehouse)
        loader = Loader(client, warehouse, PROGRAM, now_ms)
        arrived: list[AnyFact] = []
        try:
            for number, batch in enumerate(history.batches):
                deliver(client, batch, self.entry_size)
                arrived += batch
                loader.load_once()
                if self.rounds_after >> number & 1 or number == len(history.batches) - 1:
                    run_round(warehouse, PROGRAM, now_ms())
                    if found := problems(client, warehouse, arrived):
                        return [f"after batch {number + 1}:", *found]
            return audit_problems(warehouse, arrived)
        except Exception:
            return [traceback.format_exc()]


def empty(warehouse: Warehouse) -> None:
    """Forget every fact and result: quicker than a new database for each example."""
    for row in warehouse.rows(TABLES):
        warehouse.run("truncate table {table:Identifier}", table=row["name"])


@pytest.fixture
def journal_client(empty_redis_url: str) -> Any:
    client = redis.Redis.from_url(empty_redis_url)
    yield client
    client.close()


explanations: dict[str, str] = {}
"""What failed, by history."""


def maybe_seeded(test: Any) -> Any:
    return hypothesis.seed(int(SEED))(test) if SEED else test


@maybe_seeded
@checked
@given(
    history=merged_histories(through_api=False),
    delivery=st.builds(Delivery, rounds_after=st.integers(0, 31), entry_size=st.sampled_from([1, 3, 100])),
)
def test_ledger_equals_the_rules(
    history: History, delivery: Delivery, journal_client: redis.Redis, warehouse: Warehouse
) -> None:
    """Whatever the order and the batches: after every round the tables are what the rules give on all facts so far."""

    def found(history: History) -> list[str]:
        return delivery.problems(history, journal_client, warehouse)

    if found(history):
        if repr(history) not in explanations:  # Hypothesis runs a failure again before it tells
            smaller = reduced(history, lambda tried: bool(found(tried)))
            explanations[repr(history)] = "\n".join([repr(smaller), *found(smaller)])
        pytest.fail(explanations[repr(history)], pytrace=False)
