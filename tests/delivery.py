"""How a history comes to the product, wherever that dies, and what is wrong with the tables after each round.

A process dies before a statement of a load or of a round, as `kill -9` would end it, and the next one goes on. What the
tables say is compared with the reference.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis

from attribution.audit import audit
from attribution.ledger import News, Round, run_round
from attribution.loader import Load, Loader
from attribution.publication import Publication
from attribution.warehouse import Warehouse, load_queries
from tests.databases import empty
from tests.histories import History
from tests.reference import AnyFact, Outcome, once, outcome, without_zeros
from tracker import redis_keys
from tracker.events import Clicked, click_row, fact_row
from tracker.ids import NIL_UUID
from tracker.program import Program

PROGRAM = Program()
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
SPANS = """
select partner_id, spans
from partner_spans final
where round <= (select max(round) from rounds)
"""
HEADLINES = """
select sum(amount_cents) as headline, sumIf(amount_cents, tier = 1) as first, sumIf(amount_cents, tier = 2) as second
from ledger
where round <= (select max(round) from rounds)
having headline != first + second
"""
FULLY_RETURNED = """
with
    back as (
        select payment_id, sum(amount_cents) as cents
        from refunds
        group by payment_id
        having countIf(kind = 'chargeback_won') = 0
    ),
    returned as (
        select payments.payment_id as payment_id
        from payments
        inner join back on back.payment_id = payments.payment_id
        where back.cents >= payments.amount_cents
    )
select payment_id, tier, sum(amount_cents) as cents
from ledger
where payment_id in (returned) and round <= (select max(round) from rounds)
group by payment_id, tier
having cents != 0
"""
BY_PARTNER = """
select partner_id, tier, sum(amount_cents) as cents
from ledger
where round <= (select max(round) from rounds)
group by partner_id, tier
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


def expected_after(history: History, batches: int) -> Outcome:
    """What the rules give on the first batches: of every part alone, for parts share nothing."""
    whole = Outcome()
    for part in history.parts or (history,):
        one = outcome((fact for batch in part.batches[:batches] for fact in batch), PROGRAM)
        for name in ("bindings", "recruiters", "events", "payments", "blocked", "exceeding"):
            getattr(whole, name).update(getattr(one, name))
    return whole


def problems(client: redis.Redis, warehouse: Warehouse, arrived: Sequence[AnyFact], expected: Outcome) -> list[str]:
    """Whether everything that arrived is accounted for, and the tables say what the rules give on it."""
    stored_progress: dict[bytes, bytes] = client.hgetall(redis_keys.PROGRESS)  # type: ignore[assignment]
    progress = {name.decode(): int(value) for name, value in stored_progress.items()}
    stored = len(once(arrived))
    counts = {"stored": stored, "duplicates": len(arrived) - stored, "quarantined": 0}
    return [
        f"progress: {name} is {progress.get(name, 0)}, not {count}"
        for name, count in counts.items()
        if progress.get(name, 0) != count
    ] + differences(stored_outcome(warehouse), expected)


def audit_problems(warehouse: Warehouse, expected: Outcome) -> list[str]:
    """Whether `lasttouch audit` is clean, and lists the payments of which too much came back."""
    report = audit(warehouse, PROGRAM)
    listed = {finding.subject for finding in report.findings if finding.kind == "exceeds_payment"}
    found = [] if report.is_clean else [f"the audit is not clean: {report}"]
    if listed != expected.exceeding:
        found.append(f"exceeds_payment lists {listed}, not {expected.exceeding}")
    return found


class Died(Exception):
    """The process is gone."""


class Mortal:
    """A warehouse whose process dies right before its n-th statement."""

    def __init__(self, warehouse: Warehouse, statements: int) -> None:
        self._warehouse = warehouse
        self._left = statements

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._warehouse, name)
        if not callable(method):
            return method

        def statement(*arguments: object, **parameters: object) -> object:
            if not self._left:
                raise Died
            self._left -= 1
            return method(*arguments, **parameters)

        return statement


def published(warehouse: Warehouse) -> int:
    """The newest round that readers see."""
    newest: int = warehouse.rows("select max(round) as newest from rounds")[0]["newest"]
    return newest


def visible(warehouse: Warehouse) -> list[Any]:
    """Everything that readers see of rounds."""
    return [warehouse.rows(f"{query} order by all") for query in (LEDGER, BINDINGS, RECRUITMENTS, SPANS)]


def unbalanced(warehouse: Warehouse) -> list[str]:
    """Whether lines, balances and headlines agree, and a payment of which all came back has earned nobody anything."""
    found = [f"the tiers are not the headline: {row}" for row in warehouse.rows(HEADLINES)]
    found += [f"all came back, and something stays: {row}" for row in warehouse.rows(FULLY_RETURNED)]
    balances = load_queries(Path(__file__).parent.parent / "reports" / "queries")["partner_balance"]
    lines = {(row["partner_id"], row["tier"]): row["cents"] for row in warehouse.rows(BY_PARTNER)}
    partners = sorted({partner_id for partner_id, _ in lines})
    for by_day in (0, 1):
        told: Counter[tuple[str, int]] = Counter()
        for row in warehouse.rows(balances, partner_ids=partners, by_day=by_day, now_ms=now_ms()):
            told[row["partner_id"], row["tier"]] += row["commission_cents"]
        for key, cents in lines.items():
            if told[key] != cents:
                found.append(f"the balance of {key} is {told[key]} (by_day {by_day}), its lines say {cents}")
    return found


@dataclass(frozen=True)
class Delivery:
    """How a history comes. Bit n of `rounds_after` says whether a round follows batch n; one follows the last. Every
    round first dies before its statement number `dies_before`, is tried again, and dies further on; then it is done.
    Every load dies as well, before its statement number `load_dies_before`."""

    rounds_after: int
    entry_size: int
    dies_before: int
    load_dies_before: int
    clock: Callable[[], int] = now_ms

    def load(self, client: redis.Redis, warehouse: Warehouse) -> Load | None:
        """A load that dies, and the one of the process after it. None when all was done before the process died."""
        mortal: Any = Mortal(warehouse, self.load_dies_before)
        with suppress(Died):
            return Loader(client, mortal, PROGRAM, self.clock).load_once()
        return Loader(client, warehouse, PROGRAM, self.clock).load_once()

    def round(
        self, warehouse: Warehouse, news: News | None, publication: Publication | None = None
    ) -> tuple[list[str], Round | None]:
        """A round that dies twice. What readers see changes when it is published, not before; the ledger at once.

        The first try is told the news, where they are known. Returns what is wrong, and the round if a try ended.
        """
        found = []
        done: Round | None = None
        ledger_then: Any = None
        for statements, told in ((self.dies_before, news), (self.dies_before * 2, None)):
            round_before, before = published(warehouse), visible(warehouse)
            try:
                mortal: Any = Mortal(warehouse, statements)
                done = run_round(mortal, PROGRAM, self.clock(), told, publication) or done
            except Died:
                if published(warehouse) == round_before and visible(warehouse) != before:
                    found.append(f"a round that died before statement {statements} shows what is not published")
            if published(warehouse) != round_before:
                ledger_then = visible(warehouse)[0]
        done = run_round(warehouse, PROGRAM, self.clock(), publication=publication) or done
        if ledger_then is not None and visible(warehouse)[0] != ledger_then:
            found.append("a round that died after it was published showed half of its lines")
        return found, done

    def problems(self, history: History, client: redis.Redis, warehouse: Warehouse) -> list[str]:
        """What is wrong after the first round that leaves anything wrong. An exception is a problem too."""
        client.flushall()
        empty(warehouse)
        arrived: list[AnyFact] = []
        expected = Outcome()
        news: News | None = None
        try:
            for number, batch in enumerate(history.batches):
                deliver(client, batch, self.entry_size)
                arrived += batch
                expected = expected_after(history, number + 1)
                load = self.load(client, warehouse)
                if load is None:  # it is finished, and died before anybody heard what it brought
                    news = None
                if news and load:
                    stored = Counter(news.stored) + Counter(load.by_type)
                    news = replace(news, through_load=load.load_id, stored=stored)
                if self.rounds_after >> number & 1 or number == len(history.batches) - 1:
                    found, done = self.round(warehouse, news)
                    news = News(done, done.through_load, {}) if done else None
                    found += unbalanced(warehouse)
                    if found := found + problems(client, warehouse, arrived, expected):
                        return [f"after batch {number + 1}:", *found]
            return audit_problems(warehouse, expected)
        except Exception:
            return [traceback.format_exc()]
