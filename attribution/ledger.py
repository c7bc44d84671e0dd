"""The ledger: a round looks at what new loads brought and appends the difference to what the ledger should say.

Nothing is ever edited. A round writes under one number and is published by one row in `rounds`; if it dies before, the
next try takes the same number, finds what was written already, and adds what is missing. Bindings and recruiters are
written as versions and become current right after the round is published, in a step that may be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from attribution import correction
from attribution.binding import Decision, License, bind, recruit
from attribution.commission import due_to, shares
from attribution.correction import Change, Line, Posted
from attribution.facts import (
    QUERIES,
    Binding,
    Partners,
    Recruitment,
    Scope,
    read_bindings,
    read_joins,
    read_licenses,
    read_payments,
    read_refunds,
    read_round_clicks,
)
from attribution.warehouse import Warehouse
from tracker.ids import NIL_UUID, new_time_ordered_id
from tracker.program import Program

LICENSES_PER_CHUNK = 2_000
PARTNERS_PER_INSERT = 2_000
LINES_PER_INSERT = 50_000
"""A round's lines are kept until there are so many, or it ends: nearly always one insert."""

SCRATCH_TABLES = ("round_partners", "round_licenses", "round_clicks", "round_changes", "round_touched")
DERIVED_TABLES = (
    "rounds", "bindings", "binding_versions", "recruitments", "recruitment_versions", "partner_spans", "ledger",
    *SCRATCH_TABLES,
)  # fmt: skip
"""Everything that rounds write: emptied, they are written again from the facts."""

FOREVER = 9_999_999_999_999
"""The end of a span that is open (in 2286)."""


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


def run_round(warehouse: Warehouse, program: Program, now_ms: int) -> Round | None:
    """Bring bindings and ledger up to the newest finished load, and publish. None when there is no new one.

    Only one process may do this at a time. Raises what the warehouse raises; the call can be repeated then.
    """
    published = warehouse.rows(QUERIES["ledger_published"])[0]
    after_load = published["through_load"]
    if published["unapplied"]:
        _apply(warehouse, published["round"], after_load)
    if published["leftovers"]:
        _clear_scratch(warehouse)
    through_load = warehouse.rows(QUERIES["ledger_span"], after_load=after_load)[0]["through_load"]
    if through_load <= after_load:
        return None
    done = _Attempt(warehouse, program, published["round"] + 1, after_load, through_load, now_ms).decide()
    columns = ["round", "through_load", "lines", "published_at"]
    warehouse.insert("rounds", columns, [[done.round, done.through_load, done.lines, now_ms]])
    if done.changes or done.partners or done.licenses:
        _apply(warehouse, done.round, done.through_load)
        _clear_scratch(warehouse)
    return done


@dataclass(slots=True)
class _Attempt:
    """One try of a round. `lines` are not written yet; `written` are, by this try or by one that died."""

    warehouse: Warehouse
    program: Program
    round: int
    after_load: int
    through_load: int
    now_ms: int
    written: int = 0
    lines: list[Line] = field(default_factory=list)

    def decide(self) -> Round:
        """Find what the new loads can touch, decide it again, and write what differs."""
        self._gather("ledger_gather_changes")
        self._gather("ledger_gather_touched")
        scope = self._scope()
        if scope["changes"]:
            self._gather("ledger_gather_touched_by_changes")
            scope = self._scope()
        known = Partners(self.warehouse, self.through_load, self.round)
        if scope["partners"]:
            self._gather("ledger_number_partners")
            self._gather("ledger_gather_clicks", decides="partner")
            for chunk in _chunks(scope["partners"]):
                self._decide_recruiters(chunk, known)
            self._gather("ledger_gather_touched_by_recruiters")
            scope = self._scope()
        if scope["licenses"]:
            self._gather("ledger_number_licenses")
            self._gather("ledger_gather_clicks", decides="license")
            for chunk in _chunks(scope["licenses"]):
                self._decide_licenses(chunk, known)
                if len(self.lines) >= LINES_PER_INSERT:
                    self._write_lines()
            self._write_lines()
        return Round(self.round, self.after_load, self.through_load, **scope, lines=self.written)

    def _gather(self, query: str, decides: str = "") -> None:
        parameters: dict[str, Any] = {
            "round": self.round,
            "after_load": self.after_load,
            "through_load": self.through_load,
            "window_ms": self.program.window_ms,
            "chunk_size": LICENSES_PER_CHUNK,
            "decides": decides,
        }
        self.warehouse.run(QUERIES[query], **parameters)

    def _scope(self) -> dict[str, int]:
        return self.warehouse.rows(QUERIES["ledger_scope"], round=self.round)[0]

    def _decide_recruiters(self, chunk: int, known: Partners) -> None:
        """R7 for a chunk of partners; writes the recruitments that are not what they were."""
        joins = read_joins(self.warehouse, self.through_load, self.round, chunk)
        clicks = read_round_clicks(self.warehouse, "partner", self.round, chunk)
        named = {each.recruiter_hint for each in joins} | {c.partner_id for some in clicks.values() for c in some}
        standings = known.standings(named)
        # Not kept in `known`: it is asked for recruiters only when they are decided.
        before = Partners(self.warehouse, self.through_load, self.round).recruitments(j.partner_id for j in joins)
        decided = [
            _recruitment(joined.partner_id, recruit(joined, clicks[joined.partner_id], standings, self.program))
            for joined in joins
        ]
        changed = [each for each in decided if each != before.get(each.partner_id)]
        self._insert("recruitment_versions", Recruitment, changed)

    def _decide_licenses(self, chunk: int, known: Partners) -> None:
        """R2–R6 and R8–R13 for a chunk of licenses; writes bindings, keeps lines for later."""
        scope = Scope(self.through_load, self.round, chunk)
        licenses = read_licenses(self.warehouse, scope)
        before = read_bindings(self.warehouse, self.round, chunk)
        bindings = self._bind(licenses, chunk, known)
        changed = [each for each in bindings if not _is_same(each, before[each.license_id])]
        self._insert("binding_versions", Binding, changed)
        self._settle(scope, bindings, before, known)

    def _bind(self, licenses: Sequence[License], chunk: int, known: Partners) -> list[Binding]:
        clicks = read_round_clicks(self.warehouse, "license", self.round, chunk)
        named = {each.partner_hint for each in licenses} | {each.creator_id for each in licenses}
        standings = known.standings(named | {click.partner_id for some in clicks.values() for click in some})
        decided = [(each, bind(each, clicks[each.license_id], standings, self.program)) for each in licenses]
        recruitments = known.recruitments(decision.partner_id for _, decision in decided)
        return [
            _binding(license, decision, recruitments.get(decision.partner_id), self.round)
            for license, decision in decided
        ]

    def _settle(
        self, scope: Scope, bindings: Sequence[Binding], before: dict[str, list[Binding]], known: Partners
    ) -> None:
        """What the ledger lacks for the payments of some licenses."""
        payments, refunds = read_payments(self.warehouse, scope), read_refunds(self.warehouse, scope)
        posted = self._posted(scope.chunk)
        standings = known.standings({each.partner_id for each in bindings} | {each.recruiter_id for each in bindings})
        for binding in bindings:
            published = next((old for old in before[binding.license_id] if old.round < self.round), None)
            bound = binding.bound
            for payment in payments[binding.license_id]:
                both = shares(payment.paid_at, bound, standings, self.program)
                dues = due_to(both, payment, refunds[payment.payment_id], bound.partner_id)
                change = Change(published, binding, both)
                self.lines.extend(correction.lines(payment, dues, posted[payment.payment_id], change))

    def _posted(self, chunk: int) -> dict[str, list[Posted]]:
        """Payment id → what the ledger says of it, for a chunk of licenses."""
        posted: dict[str, list[Posted]] = defaultdict(list)
        for row in self.warehouse.rows(QUERIES["ledger_posted"], round=self.round, chunk=chunk):
            self.written += row.pop("lines_of_round")
            posted[row.pop("payment_id")].append(Posted(**row))
        return posted

    def _insert(self, table: str, record: type, rows: Sequence[Any]) -> None:
        """Records as rows of this round."""
        columns = [item.name for item in fields(record) if item.name != "round"]
        values = [[*(getattr(row, name) for name in columns), self.round] for row in rows]
        self.warehouse.insert(table, [*columns, "round"], values)

    def _write_lines(self) -> None:
        columns = [item.name for item in fields(Line)]
        rows = [
            [new_time_ordered_id(self.now_ms), self.round, self.now_ms, *(getattr(line, name) for name in columns)]
            for line in self.lines
        ]
        self.warehouse.insert("ledger", ["entry_id", "round", "posted_at", *columns], rows)
        self.written += len(rows)
        self.lines.clear()


def _recruitment(partner_id: str, decision: Decision) -> Recruitment:
    click = decision.click
    return Recruitment(
        partner_id,
        decision.partner_id,
        click.click_id if click else NIL_UUID,
        click.clicked_at if click else 0,
        decision.reason,
        decision.rule,
    )


def _binding(license: License, decision: Decision, recruitment: Recruitment | None, round: int) -> Binding:
    click = decision.click
    return Binding(
        license_id=license.license_id,
        product=license.product,
        started_at=license.started_at,
        origin=license.origin,
        payment_origin=license.payment_origin,
        transferred_at=license.transferred_at,
        data_center=license.data_center,
        partner_id=decision.partner_id,
        recruiter_id=recruitment.recruiter_id if recruitment else "",
        click_id=click.click_id if click else NIL_UUID,
        clicked_at=click.clicked_at if click else 0,
        click_product=click.product if click else "",
        campaign=click.campaign if click else "",
        reason=decision.reason,
        rule=decision.rule,
        round=round,
    )


def _is_same(binding: Binding, versions: Sequence[Binding]) -> bool:
    """Whether the newest version says the same."""
    return bool(versions) and replace(versions[0], round=binding.round) == binding


def _chunks(count: int) -> range:
    return range(-(-count // LICENSES_PER_CHUNK))


def _apply(warehouse: Warehouse, round: int, through_load: int) -> None:
    """Make what a published round decided current: spans, recruiters, bindings. It may be repeated."""
    changed = [row["partner_id"] for row in warehouse.rows(QUERIES["ledger_changed_partners"], round=round)]
    for start in range(0, len(changed), PARTNERS_PER_INSERT):
        standings = Partners(warehouse, through_load, round).standings(changed[start : start + PARTNERS_PER_INSERT])
        rows = [
            [each.partner_id, [(begin, FOREVER if end is None else end) for begin, end in each.active_spans()], round]
            for each in standings.values()
        ]
        warehouse.insert("partner_spans", ["partner_id", "spans", "round"], rows)
    warehouse.run(QUERIES["ledger_apply_recruitments"], round=round)
    warehouse.run(QUERIES["ledger_apply_bindings"], round=round)


def _clear_scratch(warehouse: Warehouse) -> None:
    for table in SCRATCH_TABLES:
        warehouse.run("truncate table {table:Identifier}", table=table)
