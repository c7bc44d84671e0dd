"""What is remembered of a partner is what ClickHouse says, whatever has happened meanwhile."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from reader import NOW, OTHER, PROGRAM, STATEMENTS, Reader, reading

from attribution.publication import SETTLED, Publication
from attribution.rebuild import rebuild_derived
from attribution.warehouse import Warehouse
from reports import remembered_rows, whole_rounds
from reports.remembered_rows import COUNTS_CLICKS, Changes, RememberedRows, Seen
from reports.room import QUERIES, Room
from reports.whole_rounds import Visible, _follow, visible
from tests.attribution.fact_writer import (
    AnyFact,
    changed,
    clicked,
    created,
    joined,
    license_changed,
    paid,
    rated,
    refunded,
    signed_up,
    transferred,
)
from tests.databases import empty
from tests.histories import PARTNERS, START, History, histories
from tracker import redis_keys
from tracker.errors import Unavailable
from tracker.program import DAY_MS

HISTORIES = int(os.environ.get("HISTORIES_EXAMPLES", "1"))
FEW = ("click_days", "affiliate_partners", "partner_balance", "partner_discounts", OTHER)
"""That read every kind of fact, of the partner and of those whom they recruited."""


@pytest.fixture
def reader(empty_redis_url: str, warehouse: Warehouse, tmp_path: Path) -> Iterator[Reader]:
    with reading(empty_redis_url, warehouse, tmp_path) as opened:
        yield opened


STEPS: tuple[tuple[str, tuple[AnyFact, ...]], ...] = (
    ("partners, one of them recruited", (joined("Q"), joined("S"), clicked(1, "Q", 1, 90), joined("P", 2, visitor=90))),
    ("a click", (clicked(2, "P", 3, 1),)),
    ("a signup", (signed_up("L1", 4, 1),)),
    ("a stage", (license_changed("card", "L1", 5, "card_added"),)),
    ("a payment", (paid("pay1", "L1", 2900, 6),)),
    ("a refund", (refunded("back1", "pay1", 1000, 7),)),
    ("a hold", (license_changed("hold", "L1", 8, "blocked"),)),
    ("a click that takes the license away", (clicked(3, "S", 3.5, 1),)),
    ("a payment for its new partner", (paid("pay2", "L1", 1000, 9),)),
    ("a license that a partner pays for", (created("SOL", "P", 10, "partner"), paid("pay3", "SOL", 2320, 11))),
    ("a handover", (transferred("SOL", 10.5),)),
    ("a rate", (rated("rate", "S", 5, 3000, 500),)),
    ("a suspension", (changed("stop", "P", 2.5, "suspended"),)),
    ("another recruiter, by a click that came late", (clicked(4, "S", 1.5, 90),)),
    ("a signup of nobody's", (signed_up("L2", 12, None),)),
)
"""Each is followed by a load and a round, and changes what somebody's statements say."""


def test_every_kind_of_fact_is_noticed(reader: Reader) -> None:
    """After its load and after its round, by all whom it is about: now, before, and one level above."""
    everyone = ("P", "Q", "S")
    for what, facts in STEPS:
        reader.arrive(*facts)
        reader.load()
        assert reader.wrong(everyone, FEW) == [], f"{what}, loaded"
        reader.round()
        assert reader.wrong(everyone, FEW) == [], f"{what}, attributed"
    hits, misses = reader.room.remembered.hits, reader.room.remembered.misses
    assert hits > misses / 4
    reader.arrive(clicked(9, "Q", 20, 9))
    reader.load()
    assert reader.wrong(everyone, FEW) == []
    assert reader.room.remembered.misses == misses + 1  # what counts Q's clicks, and nothing else of anybody


def test_the_clock_is_noticed(reader: Reader) -> None:
    """Trials end, holds and handovers that were dated ahead come, to the millisecond, though nobody tells."""
    reader.arrive(
        joined("Q"), clicked(1, "Q", 1, 90), joined("P", 2, visitor=90), clicked(2, "P", 3, 1), signed_up("L1", 4, 1),
        clicked(3, "P", 3, 2), signed_up("L2", 4, 2), paid("pay2", "L2", 1000, 5), created("SOL", "P", 4, "partner"),
        license_changed("hold", "L2", 20, "blocked"), license_changed("gone", "L2", 25, "expired"),
        transferred("SOL", 30),
    )  # fmt: skip
    reader.load()
    reader.round()
    queries = ("affiliate_summary", "partner_license_counts", "partner_balance")
    reader.now_ms = START + 5 * DAY_MS
    assert reader.wrong(("P", "Q"), queries) == [], "read first: when the clock changes them is asked by the next"
    seen = []
    for day in (6, 18, 20, 30):
        for now_ms in (START + day * DAY_MS - 1, START + day * DAY_MS):
            reader.now_ms = now_ms
            assert reader.wrong(("P", "Q"), queries) == [], day
            seen.append(reader.room.remembered.misses)
    assert seen[1] == seen[0], "nothing happens on the sixth day"
    assert len(set(seen[1:])) > 3


def test_a_rebuild_is_noticed(reader: Reader) -> None:
    """It may put right what was wrong without a new fact; nobody may have looked between its round and its end."""
    tampered = _tampered(reader)
    rebuild_derived(reader.warehouse, PROGRAM, NOW, lambda _: None, Publication(reader.client))
    assert reader.wrong(("P",), tampered) == []


@pytest.mark.parametrize("sees_its_round", [False, True])
def test_a_rebuild_is_noticed_by_who_read_while_it_began(reader: Reader, sees_its_round: bool) -> None:
    """They saw its round, or the mark before it and ClickHouse after it, and read what was not put right yet."""
    tampered = _tampered(reader)
    reader.arrive(clicked(9, "Q", 8, 50))
    reader.load()
    early = reader.runner.run(visible(reader.room))

    async def read() -> None:
        await _follow(reader.room, await visible(reader.room) if sees_its_round else early)
        await reader.answers(replace(reader.room, is_reading=True), "P", tampered)

    def look(progress: str) -> None:
        if progress.startswith("round 2"):
            reader.runner.run(read())

    rebuild_derived(reader.warehouse, PROGRAM, NOW, look, Publication(reader.client))
    assert reader.wrong(("P",), tampered) == []


def _tampered(reader: Reader) -> tuple[str, ...]:
    """What says something wrong of P, by hand, and is remembered so."""
    reader.arrive(*(fact for _, facts in STEPS[:5] for fact in facts))
    reader.load()
    reader.round()
    queries = (*FEW, "affiliate_licenses_count")
    reader.warehouse.run("alter table partner_bindings delete where license_id = 'L1'")
    assert reader.wrong(("P",), queries) == []
    return queries


def test_a_round_that_is_published_during_a_look_is_no_rebuild(reader: Reader) -> None:
    """Who saw the mark before the round, and ClickHouse after it, knows the round by the mark before."""
    reader.arrive(*(fact for _, facts in STEPS[:5] for fact in facts))
    reader.load()
    reader.round()
    assert reader.wrong(("P",), FEW) == []
    assert reader.wrong(("P",), FEW) == []  # now it knows when the clock changes something, too
    reader.arrive(joined("T"))
    reader.load()
    early = reader.runner.run(visible(reader.room))
    reader.round()
    reader.runner.run(_follow(reader.room, early))
    misses = reader.room.remembered.misses
    assert reader.wrong(("P",), FEW) == []
    assert reader.room.remembered.misses == misses, "nothing of P has changed"


def test_a_mark_that_is_away_for_a_moment_is_waited_for(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a round is published: ClickHouse would say that the round before is whole, which could be a rebuild."""
    reader.arrive(joined("P"))
    reader.load()
    reader.round()
    mark = reader.client.hget(redis_keys.PROGRESS, SETTLED)
    reader.client.hdel(redis_keys.PROGRESS, SETTLED)
    look = whole_rounds._mark

    async def look_and_then_it_comes_back(room: Room) -> tuple[Visible | None, bool]:
        found = await look(room)
        reader.client.hset(redis_keys.PROGRESS, SETTLED, mark)  # type: ignore[arg-type]
        return found

    with monkeypatch.context() as patch:
        patch.setattr(whole_rounds, "_mark", look_and_then_it_comes_back)
        assert reader.runner.run(visible(reader.room)).word[0] == mark
    reader.client.hdel(redis_keys.PROGRESS, SETTLED)
    assert reader.runner.run(visible(reader.room)).word == (1, 1), "where it stays away, ClickHouse says it"
    ask = whole_rounds._newest

    async def ask_and_then_it_comes_back(room: Room, after_load: int) -> dict[str, Any]:
        found = await ask(room, after_load)
        reader.client.hset(redis_keys.PROGRESS, SETTLED, mark)  # type: ignore[arg-type]
        return found

    with monkeypatch.context() as patch:
        patch.setattr(whole_rounds, "_newest", ask_and_then_it_comes_back)
        assert reader.runner.run(visible(reader.room)).word[0] == mark, "who asked meanwhile prefers the mark"


def test_a_redis_that_hangs_is_not_waited_for(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClickHouse is asked as soon as Redis does not answer, also where it just did."""
    reader.arrive(joined("P"))
    reader.load()
    reader.round()
    answers = iter([(None, True), (None, False)])

    async def look(_: Room) -> tuple[Visible | None, bool]:
        return next(answers)

    monkeypatch.setattr(whole_rounds, "_mark", look)
    assert reader.runner.run(visible(reader.room)).word == (1, 1)


@hypothesis_settings(
    max_examples=HISTORIES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(history=histories(through_api=False))
def check(run: Callable[[History], None], history: History) -> None:
    run(history)


def test_random_histories(empty_redis_url: str, warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All statements, after every load and every round of random histories. HISTORIES_EXAMPLES=n tries as many."""
    queries = (*STATEMENTS, OTHER)

    def run(history: History) -> None:
        with reading(empty_redis_url, warehouse, tmp_path_factory.mktemp("data")) as reader:
            reader.client.flushall()
            empty(reader.warehouse)
            partners = tuple(f"{name}.0" for name in PARTNERS)
            for number, batch in enumerate(history.batches):
                reader.arrive(*batch)
                reader.load()
                if number % 2:
                    assert reader.wrong(partners, queries) == [], history
                reader.round()
                assert reader.wrong(partners, queries) == [], history

    check(run)


def test_what_is_remembered_reads_what_is_looked_at() -> None:
    """The tables of the statements that are remembered: a change of any of them must be noticed (changed_by_*.sql)."""
    for name in STATEMENTS:
        statement = re.sub(r"--.*", "", QUERIES[name])
        named = set(re.findall(r"^\s*(?:with\s+)?([a-z_]+) as (?:materialized )?\(", statement, re.MULTILINE))
        tables = set(re.findall(r"\b(?:from|join) ([a-z_]+)", statement)) - named
        assert tables <= {
            "bindings", "click_days", "clicks", "clicks_by_day", "ledger", "license_events", "license_transfers",
            "partner_bindings", "partner_spans", "partners", "payments", "recruitments", "rounds", "signups",
            "solution_licenses", "subscription_events",
        }, name  # fmt: skip
        # Clicks that won something are looked up, and stay; others are counted.
        looks_up = re.search(r"clicked_at, (clicks\.)?click_id\) in", statement)
        counts_clicks = tables & {"click_days", "clicks_by_day"} or ("clicks" in tables and not looks_up)
        assert not counts_clicks or name in COUNTS_CLICKS, name


@pytest.fixture
def memory() -> RememberedRows:
    return RememberedRows(lambda: Clock.now_s)


class Clock:
    now_s = 0.0


async def seen(word: object, memory: RememberedRows, **partners: bool) -> None:
    """Readers see `word`; `partners` have changed, by more than clicks or not."""

    async def changes(before: Seen | None) -> Changes:
        return Changes(1, 1, None if before is None else partners)

    await memory.follow(word, changes)


def answering(*answers: Any) -> Callable[[], Awaitable[list[dict[str, Any]]]]:
    """Rows with the next of `answers` each time."""
    left = list(answers)

    async def ask() -> list[dict[str, Any]]:
        await anyio.lowlevel.checkpoint()
        return [{"n": left.pop(0)}]

    return ask


async def value(memory: RememberedRows, ask: Any, query: str = "affiliate_earnings", **params: Any) -> Any:
    return (await memory.rows(query, {"partner_id": "P", **params}, ask))[0]["n"]


@pytest.mark.anyio
async def test_rows_are_read_once_until_the_partner_changes(memory: RememberedRows) -> None:
    await seen("a", memory)
    ask = answering(1, 2, 3, 4)
    assert [await value(memory, ask) for _ in range(3)] == [1, 1, 1]
    await seen("b", memory, Q=True)
    assert await value(memory, ask) == 1
    await seen("c", memory, P=False)
    assert await value(memory, ask) == 1, "no statement that counts clicks"
    assert await value(memory, ask, "click_days") == 2
    await seen("d", memory, P=True)
    assert await value(memory, ask) == 3
    assert await value(memory, ask, "click_days") == 4


@pytest.mark.anyio
async def test_rows_are_the_callers(memory: RememberedRows) -> None:
    await seen("a", memory)
    for _ in range(2):
        rows = await memory.rows("affiliate_earnings", {"partner_id": "P"}, answering(1))
        rows[0]["n"] += 1
        rows.append({})
    assert await value(memory, answering()) == 1


@pytest.mark.anyio
async def test_equal_questions_at_once_are_asked_once(memory: RememberedRows) -> None:
    await seen("a", memory)
    ask, found = answering(1, 2), []
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(lambda: keep(found, value(memory, ask)))
    assert found == [1] * 5 and (memory.hits, memory.misses) == (4, 1)


async def keep(found: list[Any], answer: Awaitable[Any]) -> None:
    found.append(await answer)


@pytest.mark.anyio
async def test_what_was_being_read_when_the_partner_changed_is_not_given_to_later_ones(memory: RememberedRows) -> None:
    await seen("a", memory)
    began, go_on, found = anyio.Event(), anyio.Event(), list[Any]()

    async def slow() -> list[dict[str, Any]]:
        began.set()
        await go_on.wait()
        return [{"n": "before"}]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: keep(found, value(memory, slow)))
        await began.wait()
        await seen("b", memory, P=True)
        ask = answering("after")
        assert await value(memory, ask) == "after"
        go_on.set()
    assert found == ["before"] and await value(memory, ask) == "after"


@pytest.mark.anyio
async def test_one_that_fails_leaves_the_next_to_ask(memory: RememberedRows) -> None:
    await seen("a", memory)
    began, go_on, found = anyio.Event(), anyio.Event(), list[Any]()

    async def failing() -> list[dict[str, Any]]:
        began.set()
        await go_on.wait()
        raise ZeroDivisionError

    async def first() -> None:
        with pytest.raises(ZeroDivisionError):
            await value(memory, failing)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await began.wait()
        tasks.start_soon(lambda: keep(found, value(memory, answering(1))))
        await anyio.lowlevel.checkpoint()
        go_on.set()
    assert found == [1]


@pytest.mark.anyio
async def test_memory_has_bounds(memory: RememberedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(pickle.dumps([{"n": 1}], pickle.HIGHEST_PROTOCOL))
    monkeypatch.setattr(remembered_rows, "MOST_BYTES", 4 * (size + remembered_rows.BYTES_BESIDE))
    monkeypatch.setattr(remembered_rows, "MOST_BYTES_OF_ONE", size)
    await seen("a", memory)
    ask = answering(*range(20))
    for number in range(5):
        assert await value(memory, ask, from_ms=number) == number
    assert await value(memory, ask, from_ms=4) == 4 and await value(memory, ask, from_ms=0) == 5

    async def long() -> list[dict[str, Any]]:
        return [{"n": await anyio.to_thread.run_sync(lambda: 1)}] * 3

    for _ in range(2):
        await memory.rows("affiliate_licenses", {"partner_id": "P"}, long)
    assert memory.misses == 8
    monkeypatch.setattr(remembered_rows, "MOST_CHANGED", 2)
    await seen("b", memory, A=True, B=True, C=True)
    assert await value(memory, ask, from_ms=4) == 6


@pytest.mark.anyio
async def test_answers_without_rows_take_room_as_well(memory: RememberedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered_rows, "MOST_BYTES", 20_000)
    await seen("a", memory)

    async def nothing() -> list[dict[str, Any]]:
        await anyio.lowlevel.checkpoint()
        return []

    for number in range(100):
        await memory.rows("affiliate_earnings", {"partner_id": "P", "from_ms": number}, nothing)
    assert 10 < len(memory._kept) <= 20


@pytest.mark.anyio
async def test_memory_has_an_age(memory: RememberedRows) -> None:
    await seen("a", memory)
    ask = answering(*range(9))
    for at_s, plain, sliding in ((0, 0, 1), (15, 0, 1), (25, 0, 2), (599, 0, 3), (601, 4, 3)):
        Clock.now_s = at_s
        assert await value(memory, ask) == plain
        assert await value(memory, ask, "partner_earnings", since_ms=at_s) == sliding
    Clock.now_s = 0


@pytest.mark.anyio
async def test_rows_are_right_until_the_clock_changes_them(memory: RememberedRows) -> None:
    await seen("a", memory)
    ask = answering(*range(9))

    async def until(_: object, now_ms: int) -> int:
        return 1_000

    async def at(now_ms: int) -> Any:
        params = {"partner_id": "P", "now_ms": now_ms}
        return (await memory.rows("affiliate_summary", params, ask, until))[0]["n"]

    assert [await at(now_ms) for now_ms in (1, 999, 1_000, 1_001)] == [0, 0, 1, 2]


@pytest.mark.anyio
async def test_when_the_clock_changes_rows_is_seen_from_when_they_were_read(memory: RememberedRows) -> None:
    """What was found out meanwhile for later rows, of the time after them, does not tell of the time before."""
    await seen("a", memory)
    changes_at = (120, 9_999)

    async def ask(name: str, now_ms: int) -> Any:
        params = {"partner_id": "P", "now_ms": now_ms}

        async def rows() -> list[dict[str, Any]]:
            await anyio.lowlevel.checkpoint()
            return [{"n": sum(moment <= now_ms for moment in changes_at)}]

        async def until(_: object, from_ms: int) -> int:
            async def moment() -> list[dict[str, Any]]:
                await anyio.lowlevel.checkpoint()
                return [{"at": min(at for at in changes_at if at > from_ms)}]

            async def itself(found: list[dict[str, Any]], _: int) -> int:
                return int(found[0]["at"])

            at = {"partner_id": "P", "now_ms": from_ms}
            return (await memory.rows("next_moment", at, moment, itself))[0]["at"]

        return (await memory.rows(name, params, rows, until))[0]["n"]

    told = [await ask(*one) for one in (("a", 0), ("b", 130), ("b", 131), ("a", 132), ("a", 133), ("b", 134))]
    assert told == [0, 1, 1, 1, 1, 1]


@pytest.mark.anyio
async def test_readers_who_come_together_look_once(memory: RememberedRows) -> None:
    looks, began = 0, anyio.Event()

    async def changes(before: Seen | None) -> Changes:
        nonlocal looks
        looks += 1
        began.set()
        await anyio.sleep(0.01)
        return Changes(1, 1, {})

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(memory.follow, "a", changes)
    assert looks == 1
    await memory.follow("a", changes)
    assert looks == 1
    began = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(memory.follow, "b", changes)
        await began.wait()
        tasks.start_soon(memory.follow, "b", changes)  # what it knows of may be newer than what the look under way sees
    assert looks == 3


@pytest.mark.anyio
async def test_who_waited_for_a_look_that_failed_looks(memory: RememberedRows) -> None:
    """Else a reader who has seen `attributed` would get what was remembered before."""
    began, fails, looked = anyio.Event(), anyio.Event(), 0

    async def slow(before: Seen | None) -> Changes:
        began.set()
        await fails.wait()
        raise Unavailable("ClickHouse does not answer")

    async def changes(before: Seen | None) -> Changes:
        nonlocal looked
        looked += 1
        return Changes(1, 1, {})

    async def failing() -> None:
        with pytest.raises(Unavailable):
            await memory.follow("a", slow)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(failing)
        await began.wait()
        tasks.start_soon(failing)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(memory.follow, "a", changes)
        await anyio.wait_all_tasks_blocked()
        fails.set()
    assert looked == 1
