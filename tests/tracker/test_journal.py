"""The journal on a real Redis: durable before the answer, touches, and a Redis that is slow, full or gone."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.own_redis import Manner, OwnRedis, Proxy
from tracker import redis_keys
from tracker.click_line import TOUCHES_PER_VISITOR, click_line, touch_line
from tracker.errors import Unavailable
from tracker.events import Clicked, click_row
from tracker.journal import CLICK_SECONDS, QUEUED_CLICKS, Journal
from tracker.journal_bound import DEFAULT_BOUND, JournalBound
from tracker.metrics import Metrics
from tracker.redis_pipe import RedisPipe, packed
from tracker.spool import SPOOL_BYTES, Spool, spooled_count

pytestmark = pytest.mark.anyio

WINDOW_MS = 120 * 86_400_000
VISITOR = "11111111-1111-4111-8111-111111111111"
NOW_MS = time.time_ns() // 1_000_000


def click(number: int, at_ms: int = 0, visitor_id: str | None = VISITOR, verdict: str = "human") -> Clicked:
    """A click `at_ms` after NOW_MS; its id grows with `number`."""
    return Clicked(
        click_id=f"0190b5a4-7c3e-7d2a-9f00-{number:012x}",
        clicked_at=NOW_MS + at_ms,
        visitor_id=visitor_id,
        partner_id=f"P-{number}",
        product="livechat",
        campaign="pp_spring",
        verdict=verdict,
    )


async def until(is_so: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until `is_so()`, awaited where it is a coroutine, is true."""
    deadline = time.monotonic() + seconds
    while True:
        answer = is_so()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("r"))
    server.start()
    server.wait_until_up()
    yield server
    server.kill()


@asynccontextmanager
async def journal_on(
    url: str,
    folder: Path,
    click_seconds: float = 5.0,
    bound: JournalBound = DEFAULT_BOUND,
    spool_bytes: int = SPOOL_BYTES,
) -> AsyncIterator[tuple[Journal, Redis]]:
    """A started journal whose spool is `folder`, and a client to look with."""
    async with Redis.from_url(url) as looking:
        spool = Spool(folder, spool_bytes)
        journal = Journal(url, spool, WINDOW_MS, lambda: NOW_MS, Metrics("1"), click_seconds, bound)
        await journal.start()
        try:
            yield journal, looking
        finally:
            await journal.close()


async def journaled(redis: Redis) -> tuple[list[str], int, int]:
    """The rows of all click journals, in how many entries, and how many were counted as accepted."""
    rows: list[str] = []
    entries, accepted = 0, 0
    for shard in range(redis_keys.SHARDS):
        stream = await redis.xrange(redis_keys.click_journal(shard))
        for _, fields in stream:  # type: ignore[union-attr]
            batch = fields[b"clicks"].decode().splitlines(keepends=True)  # type: ignore[index, union-attr]
            assert len(batch) == int(fields[b"n"])  # type: ignore[index]
            rows += batch
            entries += 1
        accepted += int(await redis.hget(redis_keys.click_counts(shard), "accepted") or 0)
    return sorted(rows), entries, accepted


async def touches(redis: Redis, visitor_id: str = VISITOR) -> list[str]:
    stored = await redis.get(redis_keys.touches(visitor_id))
    return stored.decode().split("\n") if isinstance(stored, bytes) else []


async def test_clicks_that_arrive_together_are_written_together(empty_redis_url: str, tmp_path: Path) -> None:
    clicks = [click(number, visitor_id=f"11111111-1111-4111-8111-{number:012x}") for number in range(200)]
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        assert all(await asyncio.gather(*(journal.append(one) for one in clicks)))
        rows, entries, accepted = await journaled(redis)
        assert rows == sorted(click_row(one) for one in clicks)
        assert accepted == 200
        assert entries <= 2, "one entry a batch, whatever the visitors' shards"
        one = clicks[17]
        assert await touches(redis, str(one.visitor_id)) == [touch_line(one)]


async def test_an_acknowledged_click_is_in_redis_already(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        for number in range(5):
            assert await journal.append(click(number))
            assert (await journaled(redis))[2] == number + 1


async def test_touches_are_the_newest_human_clicks_once_each_in_the_order_of_r2(
    empty_redis_url: str, tmp_path: Path
) -> None:
    late, early = click(1, at_ms=-5_000), click(2, at_ms=-9_000)
    same_time = [click(number, at_ms=-7_000) for number in (30, 10, 20)]
    others = [
        click(3, verdict="bot"), click(4, verdict="prefetch"), click(5, verdict="head"),
        click(6, verdict="opted-out", visitor_id=None), click(7, at_ms=-WINDOW_MS - 1),
    ]  # fmt: skip
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        for one in (late, early, *same_time, *others, late):
            assert await journal.append(one)
        expected = [late, same_time[0], same_time[2], same_time[1], early]
        assert await touches(redis) == [touch_line(one) for one in expected]
        assert (await journaled(redis))[2] == 11, "what is no touch is journaled all the same"


async def test_whatever_the_order_the_newest_eight_touches_stay(empty_redis_url: str, tmp_path: Path) -> None:
    """The usual newest click is put in front; any other is sorted in."""
    chance = random.Random(3)
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        kept: set[str] = set()
        for number in range(60):
            one = click(chance.randint(1, 40), at_ms=-1000 * chance.randint(0, 60 - number))
            if all(line[14:50] != one.click_id for line in kept):
                kept.add(touch_line(one))
            await journal.append(one)
            newest = sorted(kept, key=lambda line: line[:50], reverse=True)[:TOUCHES_PER_VISITOR]
            assert await touches(redis) == newest
            kept = set(newest)


# PEXPIRETIME is Redis 7's. The clock and what is left of a key's life, read at one moment, say the same.
EXPIRES_AT = """
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000) + redis.call('PTTL', KEYS[1])
"""


async def expires_at(redis: Redis) -> int:
    """When the visitor's touches are forgotten, in ms."""
    answer = await redis.eval(EXPIRES_AT, 1, redis_keys.touches(VISITOR))  # type: ignore[misc]
    return int(answer)


async def test_touches_live_for_the_window_of_the_newest_click(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        await journal.append(click(1, at_ms=-60_000))
        assert await expires_at(redis) == pytest.approx(NOW_MS - 60_000 + WINDOW_MS, rel=0, abs=20)
        await journal.append(click(2, at_ms=-90_000))
        assert await expires_at(redis) == pytest.approx(NOW_MS - 60_000 + WINDOW_MS, rel=0, abs=20)
        await journal.append(click(3))
        assert await expires_at(redis) == pytest.approx(NOW_MS + WINDOW_MS, rel=0, abs=20)


async def test_a_new_visitors_touch_is_set_and_lives_for_the_window(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        durable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        journal.put(click_line(click(1))._replace(is_first=True), durable.set_result)
        await journal.append(click(2, at_ms=-1))
        assert await durable
        assert await touches(redis) == [touch_line(click(1)), touch_line(click(2, at_ms=-1))]
        assert await expires_at(redis) == pytest.approx(NOW_MS + WINDOW_MS, rel=0, abs=20)


async def test_a_first_click_that_was_held_up_on_its_way_takes_no_later_touch_away(
    empty_redis_url: str, tmp_path: Path
) -> None:
    """A write that nobody waited for any more may reach Redis after the same visitor's next click."""
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        await journal.append(click(2))
        durable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        journal.put(click_line(click(1, at_ms=-5))._replace(is_first=True), durable.set_result)
        assert await durable
        assert await touches(redis) == [touch_line(click(2)), touch_line(click(1, at_ms=-5))]


async def test_only_so_many_touches_are_kept(empty_redis_url: str, tmp_path: Path) -> None:
    clicks = [click(number, at_ms=-number) for number in range(2 * TOUCHES_PER_VISITOR)]
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        await journal.append_many(clicks[5:])
        for one in clicks[:5]:
            await journal.append(one)
        assert await touches(redis) == [touch_line(one) for one in clicks[:TOUCHES_PER_VISITOR]]


async def test_many_clicks_at_once_in_bounded_entries(empty_redis_url: str, tmp_path: Path) -> None:
    clicks = [click(number, visitor_id=f"11111111-1111-4111-8111-{number:012x}") for number in range(1_200)]
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        await journal.append_many(clicks)
        rows, _, accepted = await journaled(redis)
        assert (len(rows), accepted) == (1_200, 1_200)


async def test_a_redis_that_forgot_the_script_is_told_again(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        assert await journal.append(click(1))
        await redis.script_flush()
        assert await journal.append(click(2))
        assert (await journaled(redis))[2] == 2
        assert spooled_count(tmp_path) == 0


async def test_a_touch_key_that_holds_something_else_does_not_hold_up_the_journal(
    empty_redis_url: str, tmp_path: Path
) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        await redis.rpush(redis_keys.touches(VISITOR), "not a touch")
        assert await journal.append(click(1))
        assert await touches(redis) == [touch_line(click(1))]
        assert spooled_count(tmp_path) == 0


async def test_text_that_has_no_bytes_in_utf_8_is_journaled(empty_redis_url: str, tmp_path: Path) -> None:
    strange = Clicked(
        click_id=click(1).click_id, clicked_at=NOW_MS, visitor_id=VISITOR, partner_id="P", product="livechat",
        campaign="two\nlines", referrer="\ud800\t\0",
    )  # fmt: skip
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        assert await journal.append(strange)
        assert len((await journaled(redis))[0]) == 1
        assert len(await touches(redis)) == 1


async def test_a_full_redis_refuses_and_the_disk_keeps_until_there_is_room(own_redis: OwnRedis, tmp_path: Path) -> None:
    async with journal_on(own_redis.url, tmp_path) as (journal, redis):
        await redis.config_set("maxmemory", "1")
        assert await journal.append(click(1))
        assert spooled_count(tmp_path) == 1
        with pytest.raises(Unavailable):
            await journal.append_many([click(2)])
        assert spooled_count(tmp_path) == 1, "imports are not spooled: their caller hears of it"
        await redis.config_set("maxmemory", "0")
        await until(lambda: spooled_count(tmp_path) == 0)
        assert (await journaled(redis))[0] == [click_row(click(1))]


async def test_a_killed_redis_loses_nothing_and_gets_it_all_when_it_is_back(
    own_redis: OwnRedis, tmp_path: Path
) -> None:
    clicks = [click(number) for number in range(60)]
    async with journal_on(own_redis.url, tmp_path) as (journal, redis):
        assert all(await asyncio.gather(*(journal.append(one) for one in clicks[:20])))
        own_redis.kill()
        assert all(await asyncio.gather(*(journal.append(one) for one in clicks[20:40])))
        assert all([await journal.append(one) for one in clicks[40:]])
        assert journal.watch.is_away
        assert spooled_count(tmp_path) == 40
        own_redis.start()
        await until(lambda: spooled_count(tmp_path) == 0)
        await until(lambda: list(tmp_path.iterdir()) == [])
        rows, _, accepted = await journaled(redis)
        assert rows == sorted(click_row(one) for one in clicks)
        assert accepted == 60
        assert not journal.watch.is_away
        assert await touches(redis) == [touch_line(one) for one in reversed(clicks[-TOUCHES_PER_VISITOR:])]


async def test_a_redis_that_hangs_holds_nobody_up(own_redis: OwnRedis, tmp_path: Path) -> None:
    async with journal_on(own_redis.url, tmp_path, click_seconds=0.6) as (journal, redis):
        await until(lambda: journal.append(click(0)))
        own_redis.send(signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            assert all(await asyncio.gather(*(journal.append(click(number)) for number in range(1, 11))))
            # 0.4 s for Redis, and the disk; the machine of a test may be busy.
            assert time.monotonic() - began_s < 1.0
            began_s = time.monotonic()
            assert await journal.append(click(11))
            assert time.monotonic() - began_s < 0.5, "while Redis is known to be away nobody waits for it"
        finally:
            own_redis.send(signal.SIGCONT)
        await until(lambda: spooled_count(tmp_path) == 0)
        ids = [row.split("\t")[0] for row in (await journaled(redis))[0]]
        assert {click(number).click_id for number in range(12)} <= set(ids)


async def longest_wait(journal: Journal, clicks: list[Clicked]) -> float:
    """Append clicks one after another, some milliseconds apart: how long the slowest answer took."""

    async def wait_of(one: Clicked) -> float:
        began_s = time.monotonic()
        await journal.append(one)
        return time.monotonic() - began_s

    waits = []
    for one in clicks:
        waits.append(asyncio.create_task(wait_of(one)))
        await asyncio.sleep(0.02)
    return max(await asyncio.gather(*waits))


@pytest.mark.parametrize("sync_seconds", [0.1, 0.7])
async def test_a_redis_that_hangs_and_a_slow_disk_together_hold_nobody_up_and_lose_nothing(
    own_redis: OwnRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_seconds: float
) -> None:
    really_sync = os.fsync

    def sync_slowly(file: int) -> None:
        time.sleep(sync_seconds)
        really_sync(file)

    async with journal_on(own_redis.url, tmp_path, CLICK_SECONDS) as (journal, redis):
        monkeypatch.setattr(os, "fsync", sync_slowly)
        clicks = [click(number) for number in range(90)]
        for batch in (clicks[:45], clicks[45:]):  # the machine may be busy once
            await until(lambda: not journal.watch.is_away)
            own_redis.send(signal.SIGSTOP)
            slowest_s = await longest_wait(journal, batch)
            own_redis.send(signal.SIGCONT)
            if slowest_s <= 0.25:
                break
        assert slowest_s <= 0.25
        assert journal._metrics.lost_clicks.samples() == []
        await until(lambda: _has(redis, batch))


async def test_a_redis_that_is_too_slow_for_visitors_gets_their_clicks_from_the_disk(
    own_redis: OwnRedis, tmp_path: Path
) -> None:
    proxy = Proxy(own_redis.socket)
    async with journal_on(f"redis://127.0.0.1:{proxy.port}", tmp_path, CLICK_SECONDS) as (journal, _):
        await until(lambda: journal.append(click(0)))
        proxy.behave(Manner(delay_s=0.2))
        await until(lambda: _append_spools(journal, click(1)))
        async with Redis.from_url(own_redis.url) as redis:
            await until(lambda: _has(redis, [click(1)]))
        assert journal.watch.is_away
        proxy.behave(Manner())
        await until(lambda: not journal.watch.is_away)
    proxy.close()


async def _has(redis: Redis, clicks: list[Clicked]) -> bool:
    return {one.click_id for one in clicks} <= {row.split("\t")[0] for row in (await journaled(redis))[0]}


async def _append_spools(journal: Journal, one: Clicked) -> bool:
    """Append a click; whether it is durable, on disk."""
    return await journal.append(one) and journal.watch.is_away


async def test_a_connection_is_used_by_nobody_before_it_has_chosen_its_database(own_redis: OwnRedis) -> None:
    """However early a caller stops waiting for a new connection, the next one's writes go where they should."""
    add = packed([b"HINCRBY", b"hash", b"field", b"1"])
    for microseconds in range(0, 3_000, 50):
        pipe = RedisPipe(f"{own_redis.url}?db=3")
        try:
            async with asyncio.timeout(microseconds / 1e6):
                await pipe.call([add])
        except TimeoutError:
            await pipe.call([add])
        pipe.close()
    async with Redis.from_url(own_redis.url) as database_0:
        assert await database_0.dbsize() == 0


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])
async def test_who_leaves_in_the_middle_of_connecting_leaves_no_dead_connection(own_redis: OwnRedis) -> None:
    """uvloop, which the workers run on, does not say that a connection is lost when it was given up by its maker."""
    add = packed([b"HINCRBY", b"hash", b"field", b"1"])
    for steps in range(40):
        pipe = RedisPipe(own_redis.url)
        calling = asyncio.ensure_future(pipe.call([add]))
        for _ in range(steps):
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait([calling])
        assert len(await pipe.call([add])) == 1
        pipe.close()


async def test_deliverers_at_once_deliver_every_click_once(own_redis: OwnRedis, tmp_path: Path) -> None:
    clicks = [click(number, visitor_id=f"11111111-1111-4111-8111-{number:012x}") for number in range(3_000)]
    left_behind = Spool(tmp_path, segment_bytes=20_000)
    for at in range(0, len(clicks), 10):
        left_behind.append([click_line(one) for one in clicks[at : at + 10]])
    left_behind.rotate()
    assert left_behind.size_bytes() > 20 * 20_000
    async with (
        journal_on(own_redis.url, tmp_path) as (_, redis),
        journal_on(own_redis.url, tmp_path),
        journal_on(own_redis.url, tmp_path),
    ):
        await until(lambda: list(tmp_path.iterdir()) == [])
        rows, _, accepted = await journaled(redis)
        assert rows == sorted(click_row(one) for one in clicks)
        assert accepted == len(clicks)


async def test_a_segment_that_cannot_be_read_holds_up_no_other(empty_redis_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / "clicks-0-folder.spool").mkdir()
    # Reading it where nothing is mapped is an I/O error, as a broken disk gives.
    (tmp_path / "clicks-0-broken.spool").symlink_to("/proc/self/mem")
    spool.append([click_line(click(1))])
    spool.rotate()
    async with journal_on(empty_redis_url, tmp_path) as (_, redis):
        await until(lambda: spooled_count(tmp_path) == 0)
        assert (await journaled(redis))[0] == [click_row(click(1))]


async def test_when_redis_and_disk_both_refuse_the_answer_is_no(own_redis: OwnRedis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the spool folder")
    async with journal_on(own_redis.url, tmp_path / "file" / "spool") as (journal, _):
        assert await journal.append(click(1))
        own_redis.kill()
        assert [await journal.append(click(2)), await journal.append(click(3))] == [False, False]


async def test_what_another_process_left_on_disk_is_delivered(empty_redis_url: str, tmp_path: Path) -> None:
    left_behind = Spool(tmp_path)
    left_behind.append([click_line(click(1)), click_line(click(2))])
    left_behind.rotate()
    async with journal_on(empty_redis_url, tmp_path) as (_, redis):
        await until(lambda: spooled_count(tmp_path) == 0)
        assert (await journaled(redis))[0] == [click_row(click(1)), click_row(click(2))]
        assert await touches(redis) == [touch_line(click(2)), touch_line(click(1))]


async def test_the_queue_is_bounded(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        answers = [journal.append(click(number % 100)) for number in range(QUEUED_CLICKS + 3)]
        assert not any(await asyncio.gather(*answers[-3:]))
        assert all(await asyncio.gather(*answers[:-3]))
        assert (await journaled(redis))[2] == QUEUED_CLICKS


async def test_a_visitor_who_goes_away_takes_nobody_elses_click_with_them(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        leaving, staying = journal.append(click(1)), journal.append(click(2))
        asyncio.ensure_future(leaving).cancel()
        assert await staying
        assert (await journaled(redis))[2] == 2


async def test_closing_writes_what_has_gathered(empty_redis_url: str, tmp_path: Path) -> None:
    async with journal_on(empty_redis_url, tmp_path) as (journal, redis):
        answers = [journal.append(click(number)) for number in range(50)]
        await journal.close()
        assert all(await asyncio.gather(*answers))
        assert (await journaled(redis))[2] == 50
        await journal.start()


BOUND = JournalBound(2_000)


async def loaded(redis: Redis, clicks: int) -> None:
    """What attribution publishes when so many clicks are in ClickHouse."""
    await redis.hset(redis_keys.JOURNAL, "loaded", str(clicks))  # type: ignore[misc]


async def waiting(redis: Redis) -> int:
    accepted, done = await redis.hmget(redis_keys.JOURNAL, "accepted", "loaded")  # type: ignore[misc]
    return int(accepted or 0) - int(done or 0)


def visits(first: int, count: int) -> list[Clicked]:
    """Clicks of as many visitors."""
    numbers = range(first, first + count)
    return [click(number, visitor_id=f"11111111-1111-4111-8111-{number:012x}") for number in numbers]


async def test_as_many_clicks_wait_as_may_and_the_others_on_disk(empty_redis_url: str, tmp_path: Path) -> None:
    async with (
        journal_on(empty_redis_url, tmp_path, bound=BOUND) as (journal, redis),
        journal_on(empty_redis_url, tmp_path, bound=BOUND) as (other, _),
    ):
        clicks = visits(0, 3_000)
        halves = [journal.append(one) for one in clicks[::2]], [other.append(one) for one in clicks[1::2]]
        assert all(await asyncio.gather(*halves[0], *halves[1]))
        rows, _, accepted = await journaled(redis)
        assert accepted == len(rows) == await waiting(redis) <= BOUND.clicks
        assert accepted > BOUND.clicks - 500, "nothing is refused while there is room for it"
        assert accepted + spooled_count(tmp_path) == 3_000
        await until(lambda: journal.watch.is_full and other.watch.is_full)
        with pytest.raises(Unavailable, match="full"):
            await journal.append_many([click(4_000)])
        assert (await journaled(redis))[2] == accepted, "imports are refused, not spooled"
        journal.require_room()  # the disk has some


async def test_a_full_journal_opens_when_there_is_room_for_many_and_drains_the_disk(
    empty_redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="tracker.redis_watch")
    async with journal_on(empty_redis_url, tmp_path, bound=BOUND) as (journal, redis):
        await journal.append_many(visits(0, 2_000))
        late = visits(2_000, 1_500)
        assert all(await asyncio.gather(*(journal.append(one) for one in late)))
        assert spooled_count(tmp_path) == 1_500
        await loaded(redis, 999)
        await until(lambda: journal.watch.waiting_clicks == 1_001)
        assert journal.watch.is_full and spooled_count(tmp_path) == 1_500, "one more must be loaded first"
        await loaded(redis, 1_000)
        await until(lambda: spooled_count(tmp_path) == 500)
        assert await waiting(redis) == BOUND.clicks
        await loaded(redis, 3_000)
        await until(lambda: spooled_count(tmp_path) == 0 and not journal.watch.is_full)
        assert (await journaled(redis))[0] == sorted(click_row(one) for one in visits(0, 3_500))
    said = [record.message for record in caplog.records]
    assert any(line.startswith("the journal is full (FULL 2000 clicks wait)") for line in said)
    assert "Redis takes clicks again; 1000 wait in it" in said


async def test_when_journal_and_disk_are_full_clicks_are_not_recorded_and_conversions_refused(
    empty_redis_url: str, tmp_path: Path
) -> None:
    async with journal_on(empty_redis_url, tmp_path, bound=BOUND, spool_bytes=300_000) as (journal, redis):
        await journal.append_many(visits(0, 2_000))
        kept, answers = 0, [True]
        while all(answers):
            answers = await asyncio.gather(*(journal.append(one) for one in visits(2_000 + kept, 100)))
            kept += sum(answers)
            assert kept < 2_000
        assert spooled_count(tmp_path) == kept > 0
        with pytest.raises(Unavailable, match="disk takes no more clicks"):
            journal.require_room()
        await loaded(redis, 2_000)
        await until(lambda: spooled_count(tmp_path) == 0)
        journal.require_room()
        assert await journal.append(click(4_000))
        assert len((await journaled(redis))[0]) == 2_000 + kept + 1
