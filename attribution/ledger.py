"""The ledger: a round looks at what new loads brought and appends the difference to what the ledger should say.

The rules are in SQL, one statement a step (`queries/ledger_*.sql`), the same for one payment and for everything.
Nothing is ever edited. A round writes under one number and is published by one row in `rounds`; if it dies before, the
next try takes the same number, finds what was written already, and adds what is missing. Bindings and recruiters are
written as versions and become current right after the round is published, in a step that may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attribution.facts import QUERIES
from attribution.publication import Publication
from attribution.warehouse import Warehouse
from tracker.ids import new_time_ordered_id
from tracker.program import Program

FACTS_PER_PART = 2_500_000
"""Licenses and payments that are decided at once, in about 2 GB of memory; more in parts, by the license's hash."""

KEEP_APPLIED = 1_000
"""Rounds noted as applied, at most."""

SCRATCH_TABLES = (
    "round_changes", "round_touched", "round_joins", "round_licenses", "round_brought", "round_payments", "round_dues",
)  # fmt: skip
APPLIED = ("spans", "recruitments", "bindings", "partner_bindings", "former_bindings")
"""What a published round makes current, by the statements ledger_apply_*.sql."""
DERIVED_TABLES = (
    "rounds", "rebuilds", "bindings", "partner_bindings", "binding_versions", "recruitments", "recruitment_versions",
    "partner_spans", "standings", "moments", "ledger", "round_applied", *SCRATCH_TABLES,
)  # fmt: skip
"""Everything that rounds write: emptied, they are written again from the facts."""


NEWS = {
    "clicks": "click",
    "joins": "partner",
    "partner_events": "partner_event",
    "signups": "signup",
    "solution_licenses": "solution_license",
    "transfers": "license_transfer",
    "payments": "payment",
    "refunds": "refund",
}
"""What rounds look for in new loads, as ledger_news.sql calls it → the type of fact."""

JOINS = {"undecided": "round_joins", "id": "partner_id", "moment": "joined_at", "hint": "recruiter_hint"}
LICENSES = {"undecided": "round_licenses", "id": "license_id", "moment": "started_at", "hint": "partner_hint"}
"""Whose visitors ledger_bring.sql finds the bringers of, and where these say it."""

TOUCHED = ("changes", "touched_joins", "touched_licenses", "touched_payments")
"""What ledger_touched.sql counts."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a published round did: how many standings had changed, what was decided again, and the lines written."""

    round: int
    after_load: int
    through_load: int
    changes: int = 0
    partners: int = 0
    licenses: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What the loads after a round brought, for who ran that round last and has seen each load since.

    Asking ClickHouse for it costs more than a small round's work.
    """

    after: Round
    through_load: int
    stored: Mapping[str, int]
    """Type of fact, and `click` → how many these loads have stored."""

    @property
    def span(self) -> Span:
        """Where rounds stand."""
        return Span(self.after.round, self.after.through_load, self.through_load, False, False, True, False)

    @property
    def counts(self) -> dict[str, int]:
        """What ledger_news.sql counts."""
        return {name: self.stored.get(kind, 0) for name, kind in NEWS.items()}


def run_round(
    warehouse: Warehouse,
    program: Program,
    now_ms: int,
    news: News | None = None,
    publication: Publication | None = None,
) -> Round | None:
    """Bring bindings and ledger up to the newest finished load, and publish. None when there is nothing to do.

    `news` saves looking for it; the round goes as far as it tells. After a failure only a look can tell. Readers learn
    by `publication` when a round is whole; a database that nobody reads meanwhile needs none.
    Only one process may do this at a time. Raises what the warehouse and Redis raise; the call can be repeated then.
    """
    span = news.span if news else Span(**warehouse.rows(QUERIES["ledger_span"])[0])
    if span.round and not span.is_applied:
        if publication:
            publication.begins()
        _apply(warehouse, span.round)
    if news is None and publication:
        publication.ends(span.round)
    if span.has_leftovers:
        _clear(warehouse, *SCRATCH_TABLES)
    if not span.has_work:
        return None
    attempt = _Attempt(warehouse, program, span, now_ms)
    done = attempt.decide(news.counts if news else None)
    if publication:
        publication.begins()
    columns = ["round", "through_load", "lines", "published_at"]
    warehouse.insert("rounds", columns, [[done.round, done.through_load, done.lines, now_ms]])
    _apply(warehouse, done.round, attempt.changed)
    if publication:
        publication.ends(done.round)
    if done.changes or done.partners or done.licenses:
        _clear(warehouse, *SCRATCH_TABLES)
    if done.round % KEEP_APPLIED == 0:
        _clear(warehouse, "round_applied")
    return done


@dataclass(frozen=True, slots=True)
class Span:
    """Where rounds stand: the newest published one, the newest load that it has seen, and how far the next can go."""

    round: int
    covered_load: int
    through_load: int
    is_whole: bool
    """The next round decides everything again, from the first load on."""
    was_begun: bool
    """The next round was begun before, and wrote lines."""
    is_applied: bool
    """What the published round decided is known to be current."""
    has_leftovers: bool
    """A round that died left something in its scratch."""

    @property
    def has_work(self) -> bool:
        """Whether a round has anything to look at."""
        return self.through_load > self.covered_load or (self.is_whole and self.through_load > 0)

    @property
    def after_load(self) -> int:
        """Facts of later loads are new to the round."""
        return 0 if self.is_whole else self.covered_load

    @property
    def seen_load(self) -> int:
        """The ledger may say something of payments of loads up to this one."""
        return self.through_load if self.was_begun else self.covered_load


class _Attempt:
    """One try of a round."""

    def __init__(self, warehouse: Warehouse, program: Program, span: Span, now_ms: int) -> None:
        self._warehouse = warehouse
        self._span = span
        self.changed: tuple[str, ...] = ()
        """What is to be applied once the round is published."""
        self._parameters: dict[str, Any] = {
            "round": span.round + 1,
            "after_load": span.after_load,
            "through_load": span.through_load,
            "seen_load": span.seen_load,
            "window_ms": program.window_ms,
            "allow_self_referral": int(program.allow_self_referral),
            "first_percent": program.first_tier_percent_hundredths,
            "second_percent": program.second_tier_percent_hundredths,
            "posted_at_ms": now_ms,
            "id_prefix": new_time_ordered_id(now_ms)[:14],
        }

    def decide(self, news: dict[str, int] | None) -> Round:
        """Find what the new loads can touch, decide it again, and write what differs."""
        if news is None:
            news = self._rows("ledger_news")
        scope = self._gather(news)
        partners = 0
        if news["joins"] or scope["touched_joins"]:
            partners = self._decide_joins()
            scope = self._rows("ledger_touched")
        licenses = lines = 0
        touched = news["transfers"] + scope["touched_licenses"]
        collected = {
            "ledger_collect_licenses": news["signups"] + news["solution_licenses"],
            "ledger_collect_touched_licenses": touched,
        }
        decides = sum(collected.values())
        settles = decides + news["payments"] + news["refunds"] + scope["touched_payments"]
        parts = -(-settles // FACTS_PER_PART)
        for part in range(parts):
            self._decide_part([query for query, count in collected.items() if count], parts, part)
            done = self._rows("ledger_done")
            licenses, lines = licenses + done["licenses"], done["lines"]
        changed = {
            "spans": scope["changes"],
            "recruitments": partners,
            "bindings": decides,
            "partner_bindings": decides,
            # A license that is new by its signup was nobody's before. Without a load before, all are decided again.
            "former_bindings": touched + news["solution_licenses"] if self._span.after_load else self._span.round,
        }
        self.changed = tuple(table for table, count in changed.items() if count)
        span = self._span
        return Round(span.round + 1, span.after_load, span.through_load, scope["changes"], partners, licenses, lines)

    def _gather(self, news: dict[str, int]) -> dict[str, int]:
        """Standings that change, and what new clicks and changed standings can touch of earlier facts: how many."""
        if not self._span.after_load:
            _clear(self._warehouse, "moments")
        if self._span.after_load and news["clicks"]:  # before the new moments are remembered, which are decided anyway
            self._run("ledger_gather_touched_by_clicks")
        if news["joins"] or news["signups"]:
            self._run("ledger_remember_moments")
        changes = news["joins"] or news["partner_events"]
        if changes:
            self._run("ledger_gather_changes")
            self._run("ledger_write_standings")
        if self._span.after_load and changes:
            self._run("ledger_gather_touched_by_changes")
        return self._rows("ledger_touched") if changes or news["clicks"] else dict.fromkeys(TOUCHED, 0)

    def _decide_joins(self) -> int:
        """R7 for new and touched joins; then their licenses are touched. How many joins there were."""
        self._run("ledger_collect_joins")
        self._run("ledger_bring", **JOINS)
        self._run("ledger_recruit")
        _clear(self._warehouse, "round_brought")
        if self._span.after_load:
            self._run("ledger_gather_touched_by_recruiters")
        return self._rows("ledger_joins")["joins"]

    def _decide_part(self, collects: Sequence[str], parts: int, part: int) -> None:
        """R2 to R6 and R8 to R13 for a part of the licenses to decide and the payments to settle. `collects`: what
        finds these licenses; nothing where there are none."""
        if part:
            _clear(self._warehouse, "round_licenses", "round_brought", "round_payments", "round_dues")
        for query in collects:
            self._run(query, parts=parts, part=part)
        if collects:
            self._run("ledger_bring", **LICENSES)
            self._run("ledger_bind")
        self._run("ledger_collect_payments", parts=parts, part=part)
        scope = self._rows("ledger_scope")
        if scope["payments"] > scope["standing"]:
            self._run("ledger_post", parts=parts, part=part, standing=0)
        if scope["standing"]:
            self._run("ledger_owe", parts=parts, part=part, standing=1)
            self._run("ledger_post_differences")

    def _run(self, query: str, **parameters: object) -> None:
        self._warehouse.run(QUERIES[query], **self._parameters, **parameters)

    def _rows(self, query: str) -> dict[str, int]:
        return self._warehouse.rows(QUERIES[query], **self._parameters)[0]


def _apply(warehouse: Warehouse, round: int, changed: Iterable[str] = APPLIED) -> None:
    """Make what a published round decided current. It may be repeated."""
    for table in changed:
        warehouse.run(QUERIES[f"ledger_apply_{table}"], round=round)
    warehouse.run(QUERIES["ledger_note_applied"], round=round)


def _clear(warehouse: Warehouse, *tables: str) -> None:
    for table in tables:
        warehouse.run("truncate table {table:Identifier}", table=table)
