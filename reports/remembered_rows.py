"""Rows of partners' statements, remembered until something of the partner changes.

Partners' programs poll, and mostly nothing of theirs has changed. A statement's rows are a function of ClickHouse, so
they stay right until a load or a round brings something of the partner. Whoever reads first after one asks ClickHouse
which partners it changed (queries/changed_by_*.sql), rather too many than too few; their rows alone are forgotten. New
clicks change what clicks are counted in, and nothing else before a round.

Rows that depend on the clock are right until it next changes something of the partner, which ClickHouse is asked, too
(queries/next_moment.sql). Nothing that writes may use remembered rows: it would decide on what was. For use from one
event loop.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

Rows = list[dict[str, Any]]
Key = tuple[Any, ...]

MOST_BYTES = 128_000_000
"""Of all rows that are remembered; a row takes some 30 to 150. Those that were not asked for the longest time go first:
where partners who poll in turn have a little more than that, nearly everything is read again each time."""
BYTES_BESIDE = 1_000
"""That a statement's rows take besides: their key, mostly."""
MOST_BYTES_OF_ONE = 8_000_000
"""Of one statement; a longer list is read each time."""
MOST_CHANGED = 5_000
"""Partners whom a look names; more, as a rebuild has, and everything is forgotten."""
AGE_SECONDS = 600.0
"""How long rows are remembered at most, whatever happens."""
SLIDING_SECONDS = 20.0
"""How long, where a period ends now: what leaves it is seen so late at most."""
NOW, SINCE = "now_ms", "since_ms"
"""Parameters that are the clock's, and when such a period begins."""
FOREVER_MS = 2**62

COUNTS_CLICKS = ("click_days", "click_visits", "clicks_between")
REMEMBERED = frozenset(
    (
        *COUNTS_CLICKS,
        "active_spans",
        "affiliate_earnings",
        "affiliate_licenses",
        "affiliate_licenses_count",
        "affiliate_partners",
        "affiliate_performance",
        "affiliate_summary",
        "commission_lines",
        "first_tier_percent",
        "next_moment",
        "partner_balance",
        "partner_commission_days",
        "partner_discounts",
        "partner_earnings",
        "partner_license_counts",
        "partner_licenses",
        "referred_partners_count",
        "signup_days",
    )
)
"""What is asked about one partner, most of it statements of queries/; COUNTS_CLICKS are those that any new click
changes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a look went: what it knows of."""

    visible: object
    """What readers saw then: unequal to what they see after another load or round."""
    round: int
    load: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What the loads and rounds since a look have changed, up to and with `load` and `round`."""

    round: int
    load: int
    partners: Mapping[str, bool] | None
    """Partner → whether more than their clicks has changed. None where that cannot be told."""


@dataclass(slots=True)
class _Kept:
    """Rows, packed: that takes a tenth of the room, and every reader gets their own. And the look after which they were
    read."""

    packed: bytes
    look: int
    read_at_s: float
    now_ms: int
    """The clock, as the statement was told it."""
    until_ms: int | None
    """The clock changes nothing before. None while nobody has asked."""

    def is_of(self, now_ms: int) -> bool:
        """Whether the clock has changed nothing between when they were read and another moment."""
        return self.now_ms <= now_ms < (self.until_ms or FOREVER_MS)

    @property
    def size(self) -> int:
        """In bytes, with its key and the rest."""
        return len(self.packed) + BYTES_BESIDE


@dataclass(frozen=True, slots=True)
class _Question:
    """A statement about a partner, at a moment of the clock. Equal keys have equal rows while nothing changes."""

    query: str
    partner_id: str
    key: Key
    now_ms: int
    age_s: float
    """How old its rows may be."""

    @classmethod
    def of(cls, query: str, params: Mapping[str, Any]) -> _Question:
        key = (query, *sorted((name, str(value)) for name, value in params.items() if name not in (NOW, SINCE)))
        age_s = SLIDING_SECONDS if SINCE in params else AGE_SECONDS
        return cls(query, partner_of(params), key, params.get(NOW, 0), age_s)


@dataclass(slots=True)
class _Flight:
    """A statement under way."""

    look: int
    now_ms: int
    done: anyio.Event = field(default_factory=anyio.Event)
    rows: Rows | None = None


class RememberedRows:
    """See the module. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = anyio.current_time) -> None:
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._size = 0
        self._flights: dict[Key, _Flight] = {}
        self._looking = anyio.Lock()
        self._begun = self._taken_in = 0
        self._seen: Seen | None = None
        self._all_changed = 0
        self._clicked: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self.look = 0
        """The newest look that was finished: looks are numbered."""
        self.hits = 0
        self.misses = 0

    async def follow(self, visible: object, changes_since: Callable[[Seen | None], Awaitable[Changes]]) -> None:
        """Forget what has changed by the time that readers see `visible`. `changes_since` looks into ClickHouse."""
        if self._seen is not None and visible == self._seen.visible:
            return
        wanted = self._begun + 1
        async with self._looking:
            if self._taken_in >= wanted:
                return  # somebody began to look after us, and has seen as much
            self._begun += 1
            begun = self._begun
            self._take_in(visible, await changes_since(self._seen))
            self._taken_in = begun  # not of a look that failed

    def _take_in(self, visible: object, changes: Changes) -> None:
        self.look += 1
        if changes.partners is None or len(changes.partners) > MOST_CHANGED:
            self.forget()
        else:
            for partner_id, is_more_than_clicks in changes.partners.items():
                self._clicked[partner_id] = self.look
                if is_more_than_clicks:
                    self._changed[partner_id] = self.look
        self._seen = Seen(visible, changes.round, changes.load)

    def forget(self) -> None:
        """Forget everything."""
        self._all_changed = self.look
        self._kept.clear()
        self._clicked.clear()
        self._changed.clear()
        self._size = 0

    def has_changed(self, partner_id: str, since: int) -> bool:
        """Whether anything but clicks of a partner has changed after a look. True where that is not known."""
        return not partner_id or max(self._all_changed, self._changed.get(partner_id, 0)) > since

    async def rows(
        self,
        query: str,
        params: Mapping[str, Any],
        ask: Callable[[], Awaitable[Rows]],
        until: Callable[[Rows, int], Awaitable[int]] | None = None,
    ) -> Rows:
        """The rows of one of REMEMBERED, from `ask` where they are not known. They are the caller's to change. `until`
        tells, where the rows depend on the clock, when it may next change them, seen from a moment; it is asked when
        somebody wants the rows again, so that the first need not wait for it."""
        question = _Question.of(query, params)
        if not question.partner_id:
            return await ask()
        while True:
            kept = self._still_right(question)
            if kept is not None and kept.until_ms is None and until is not None:
                kept.until_ms = await until(pickle.loads(kept.packed), kept.now_ms)
            elif kept is not None:
                self._kept.move_to_end(question.key)
                self.hits += 1
                return cast("Rows", pickle.loads(kept.packed))
            else:
                flight = self._flights.get(question.key)
                if flight is None or flight.now_ms > question.now_ms or not self._is_right(question, flight.look):
                    return await self._ask(question, ask, depends_on_clock=until is not None)
                await flight.done.wait()
                if flight.rows is not None:
                    self.hits += 1
                    return [dict(row) for row in flight.rows]

    def _still_right(self, question: _Question) -> _Kept | None:
        """What is kept of a question, if it is right yet; what is not is dropped."""
        kept = self._kept.get(question.key)
        if kept is None:
            return None
        is_young = self._clock() - kept.read_at_s < question.age_s and kept.is_of(question.now_ms)
        if is_young and self._is_right(question, kept.look):
            return kept
        self._drop(question.key)
        return None

    async def _ask(self, question: _Question, ask: Callable[[], Awaitable[Rows]], depends_on_clock: bool) -> Rows:
        flight, began_s = _Flight(self.look, question.now_ms), self._clock()
        self._flights[question.key] = flight
        self.misses += 1
        try:
            rows = await ask()
            flight.rows = rows
        finally:
            flight.done.set()
            if self._flights.get(question.key) is flight:
                del self._flights[question.key]
        packed = pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)
        if self._is_right(question, flight.look) and len(packed) <= MOST_BYTES_OF_ONE:
            until_ms = None if depends_on_clock else FOREVER_MS
            self._keep(question.key, _Kept(packed, flight.look, began_s, question.now_ms, until_ms))
        return [dict(row) for row in rows]

    def _keep(self, key: Key, kept: _Kept) -> None:
        if key in self._kept:
            self._drop(key)
        self._kept[key] = kept
        self._size += kept.size
        while self._size > MOST_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        self._size -= self._kept.pop(key).size

    def _is_right(self, question: _Question, look: int) -> bool:
        """Whether nothing has changed since a look in what a statement reads."""
        changed = self._clicked if question.query in COUNTS_CLICKS else self._changed
        return look >= max(self._all_changed, changed.get(question.partner_id, 0))


def partner_of(params: Mapping[str, Any]) -> str:
    """The partner whom a statement is about; empty where there are several."""
    if "partner_ids" in params:
        return str(params["partner_ids"][0]) if len(params["partner_ids"]) == 1 else ""
    return str(params["partner_id"])
