"""The directory in memory: loaded, followed, and asked once more before anything is refused."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from loadtests.bench_directory import fill_directory
from tracker import redis_keys
from tracker.directory_lines import Link
from tracker.links import CHANGE_ENTRIES, SCAN_ENTRIES, Links
from tracker.look_up import MOST_WAITING
from tracker.packed import Packed
from tracker.snapshot import Known, Snapshot
from tracker.standing import Change

pytestmark = pytest.mark.anyio
SECRET = b"k" * 32


def link_entry(partner_id: str = "P-1", **more: str) -> str:
    return json.dumps({"partner_id": partner_id, "product": "livechat", "campaign": "", "landing_url": "", **more})


def partner_entry(joined_at: int = 1_000, changes: list[list[object]] | None = None) -> str:
    entry = {"joined_at": joined_at, "name": "Jo", "email": "jo@example.org", "email_hash": "ab", "recruiter_id": None}
    return json.dumps({**entry, "links": {}, "changes": changes or []})


async def until(is_so: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait until `is_so()`; how long it took, in seconds."""
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < seconds, "it did not come true in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - began_s


@asynccontextmanager
async def links_on(url: str, snapshot: Snapshot | None = None) -> AsyncIterator[tuple[Links, Redis]]:
    """Started links, and a client to change the directory with. Look-ups get all the time that a busy machine needs."""
    retry = Retry(NoBackoff(), 0)
    async with Redis.from_url(url, retry=retry, socket_timeout=None) as redis, Redis.from_url(url) as writing:
        links = Links(redis, snapshot, look_up_seconds=5.0)
        await links.start()
        try:
            yield links, writing
        finally:
            await links.close()


async def write(redis: Redis, kind: str, hash_key: str, key: str, value: str) -> None:
    """A directory change as one step, as the directory makes it."""
    async with redis.pipeline(transaction=True) as step:
        step.hset(hash_key, key, value)
        step.xadd(redis_keys.CHANGES, {"kind": kind, "key": key})
        await step.execute()


async def test_everything_is_loaded_at_start(empty_redis_url: str) -> None:
    count = 2 * SCAN_ENTRIES + 1
    async with Redis.from_url(empty_redis_url) as redis:
        await redis.hset(redis_keys.LINKS, mapping={f"c{n}": link_entry(f"P-{n}") for n in range(count)})
        await redis.hset(
            redis_keys.LINKS, "home", link_entry(campaign="pp_x", landing_url="https://www.livechat.com/y")
        )
        await redis.hset(redis_keys.LINKS, "broken", "{")
        await redis.hset(
            redis_keys.PARTNERS, "P-1", partner_entry(7, [[20, "e2", "reinstated"], [10, "e1", "suspended"]])
        )
        await redis.hset(redis_keys.PARTNERS, "broken", '{"joined_at": null}')
    async with links_on(empty_redis_url) as (links, _):
        assert links.loaded.is_set()
        assert links.link_count == count + 1
        assert links.find_link(f"c{count - 1}") == Link(f"P-{count - 1}", "livechat", "", "")
        assert links.find_link("home") == Link("P-1", "livechat", "pp_x", "https://www.livechat.com/y")
        assert links.find_link("broken") is None
        standing = links.standing("P-1")
        assert standing is not None
        assert (standing.partner_id, standing.joined_at, standing.email_hash) == ("P-1", 7, "")
        assert standing.changes == (Change(10, "e1", "suspended"), Change(20, "e2", "reinstated"))
        assert links.standing("broken") is None


async def test_changes_arrive_well_within_a_second(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        assert links.find_link("new") is None
        await write(redis, "link", redis_keys.LINKS, "new", link_entry())
        assert await until(lambda: links.find_link("new")) < 1.0
        await write(redis, "partner", redis_keys.PARTNERS, "P-1", partner_entry())
        assert await until(lambda: links.standing("P-1")) < 1.0
        await write(redis, "token", redis_keys.TOKENS, "whatever", "")
        await write(redis, "partner", redis_keys.PARTNERS, "P-1", partner_entry(changes=[[5, "e", "suspended"]]))
        assert await until(lambda: (found := links.standing("P-1")) and found.suspended_at(5)) < 1.0
        await write(redis, "link", redis_keys.LINKS, "new", link_entry(campaign="pp_moved"))
        assert await until(lambda: (found := links.find_link("new")) and found.campaign == "pp_moved") < 1.0


async def test_an_unknown_id_is_looked_up_before_it_is_refused(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        # Written without a change, so that only a look-up can find it.
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())
        await redis.hset(redis_keys.PARTNERS, "P-1", partner_entry())
        assert links.find_link("quiet") is None
        assert await links.look_up_link("quiet") == links.find_link("quiet") == Link("P-1", "livechat", "", "")
        assert await links.look_up_partner("P-1") == links.standing("P-1") is not None
        assert await links.look_up_link("later") is None
        await redis.hset(redis_keys.LINKS, "later", link_entry())
        assert await links.look_up_link("later") is not None, "what was unknown a moment ago is usable at once"


async def test_when_changes_were_trimmed_unread_everything_is_loaded_again(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        async with redis.pipeline(transaction=True) as burst:
            burst.hset(redis_keys.LINKS, "trimmed", link_entry())
            burst.xadd(redis_keys.CHANGES, {"kind": "link", "key": "trimmed"})
            for _ in range(CHANGE_ENTRIES + 50):
                burst.xadd(
                    redis_keys.CHANGES, {"kind": "token", "key": "x"}, maxlen=CHANGE_ENTRIES + 20, approximate=False
                )
            await burst.execute()
        await until(lambda: links.find_link("trimmed"))


async def test_after_a_lost_connection_following_goes_on_where_it_stopped(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        await write(redis, "link", redis_keys.LINKS, "before", link_entry())
        await until(lambda: links.find_link("before"))
        told: list[str | None] = []
        links.watch(told.append)
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())  # no change tells of it: only reading all finds it
        await redis.client_kill_filter(_type="normal", skipme=True)
        await write(redis, "link", redis_keys.LINKS, "missed", link_entry())
        await until(lambda: links.find_link("missed"))
        assert told == ["missed"] and links.find_link("quiet") is None


async def test_when_redis_lost_the_newest_change_everything_is_read_again(empty_redis_url: str) -> None:
    """As after a restore from an older state, or a failover to a replica that lagged."""
    async with links_on(empty_redis_url) as (links, redis):
        await write(redis, "link", redis_keys.LINKS, "before", link_entry())
        await redis.set(redis_keys.COMPLETE, "1")
        await write(redis, "link", redis_keys.LINKS, "lost", link_entry())
        await until(lambda: links.find_link("lost"))
        newest = (await redis.xrevrange(redis_keys.CHANGES, count=1))[0][0]
        await redis.xdel(redis_keys.CHANGES, newest)
        await redis.hdel(redis_keys.LINKS, "lost")
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())
        await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: links.find_link("quiet"))
        assert links.find_link("before") and links.find_link("lost") is None
        assert links.link_count == 2


async def test_an_emptied_redis_takes_nothing_from_memory_until_it_is_complete_again(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        await redis.set(redis_keys.COMPLETE, "1")
        for code in ("kept", "gone"):
            await write(redis, "link", redis_keys.LINKS, code, link_entry())
        await write(redis, "partner", redis_keys.PARTNERS, "P-1", partner_entry())
        await until(lambda: links.standing("P-1"))
        await redis.flushall()
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())
        await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: links.find_link("quiet"))
        await write(redis, "link", redis_keys.LINKS, "new", link_entry())
        await until(lambda: links.find_link("new"))
        assert links.find_link("kept") and links.find_link("gone") and links.standing("P-1")
        # Attribution puts back what ClickHouse knows, and says that this is all.
        await redis.hset(redis_keys.LINKS, "kept", link_entry(campaign="pp_restored"))
        await redis.hset(redis_keys.PARTNERS, "P-1", partner_entry())
        await redis.set(redis_keys.COMPLETE, "1")
        await redis.xadd(redis_keys.CHANGES, {"kind": "all", "key": ""})
        await until(lambda: links.find_link("gone") is None)
        await until(lambda: (kept := links.find_link("kept")) and kept.campaign == "pp_restored")
        assert links.find_link("new") and links.standing("P-1")
        assert (links.link_count, links.partner_count) == (3, 1), "kept, quiet and new"


async def test_a_deleted_entry_is_forgotten(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        await write(redis, "link", redis_keys.LINKS, "c", link_entry())
        await until(lambda: links.find_link("c"))
        await redis.hdel(redis_keys.LINKS, "c")
        await redis.xadd(redis_keys.CHANGES, {"kind": "link", "key": "c"})
        await until(lambda: links.find_link("c") is None)


async def test_a_start_goes_on_from_the_snapshot(empty_redis_url: str, tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "directory.snapshot", SECRET)
    async with Redis.from_url(empty_redis_url) as redis:
        await write(redis, "link", redis_keys.LINKS, "c", link_entry())
    async with links_on(empty_redis_url, snapshot) as (links, redis):
        await until(lambda: snapshot.path.exists())
        await write(redis, "link", redis_keys.LINKS, "d", link_entry())
        await until(lambda: links.find_link("d"))
    async with Redis.from_url(empty_redis_url) as redis:
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())
        await write(redis, "link", redis_keys.LINKS, "later", link_entry())
    async with links_on(empty_redis_url, snapshot) as (links, _):
        await until(lambda: links.find_link("later"))
        assert links.find_link("c") and links.find_link("d"), "it was written at the start and at the end"
        assert links.find_link("quiet") is None, "what the snapshot has was not read again"


async def test_a_start_without_redis_has_the_snapshot_and_says_how_old_it_is(
    empty_redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    snapshot = Snapshot(tmp_path / "directory.snapshot", SECRET)
    async with Redis.from_url(empty_redis_url) as redis:
        await redis.hset(redis_keys.LINKS, "c", link_entry())
        await redis.hset(redis_keys.PARTNERS, "P-1", partner_entry())
        await redis.set(redis_keys.COMPLETE, "1")
    async with links_on(empty_redis_url, snapshot) as (links, _):
        assert links.age_seconds < 5
        await until(lambda: snapshot.path.exists())
    text = snapshot.path.read_bytes()
    assert b"jo@example.org" not in text and b"Jo" not in text and b"email" not in text
    an_hour_ago = time.time() - 3600
    os.utime(snapshot.path, (an_hour_ago, an_hour_ago))
    async with Redis.from_url("unix:///nonexistent/redis.sock") as redis:
        links = Links(redis, snapshot)
        await links.start()
        assert links.loaded.is_set() and links.was_complete
        assert links.find_link("c") == Link("P-1", "livechat", "", "") and links.standing("P-1")
        assert 3600 <= links.age_seconds < 3630
        assert await links.look_up_link("unknown") is None
        await links.close()
    assert "the directory is the snapshot's, 3600 s old: 1 links, 1 partners" in caplog.text


async def test_a_snapshot_of_another_redis_is_replaced_by_what_redis_has(empty_redis_url: str, tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "directory.snapshot", SECRET)
    old = Packed()
    old.put(b"old", b"P-1\tlivechat\t\t")
    snapshot.write(Known(old, Packed(), "1-1", time.time()))
    async with Redis.from_url(empty_redis_url) as redis:
        await redis.set(redis_keys.COMPLETE, "1")
        await write(redis, "link", redis_keys.LINKS, "c", link_entry())
    async with links_on(empty_redis_url, snapshot) as (links, _):
        await until(lambda: links.find_link("c"))
        assert links.find_link("old") is None


async def test_the_benchmarks_directory_is_read_like_any_other(empty_redis_url: str) -> None:
    with closing(redis.Redis.from_url(empty_redis_url)) as client:
        fill_directory(client, links=500, partners=100)
    async with links_on(empty_redis_url) as (links, _):
        assert (links.link_count, links.partner_count) == (500, 100)
        assert links.find_link("b0000007") == Link("W-0000007", "livechat", "", "")
        assert links.find_link("b0000107") == Link("W-0000007", "partner_program", "", "")
        assert links.find_link("b0000207") == Link(
            "W-0000007", "livechat", "pp_campaign-207", "https://www.livechat.com/pricing"
        )
        assert links.is_active("W-0000007", 1_800_000_000_000)


async def test_many_look_ups_share_calls(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        await redis.hset(redis_keys.LINKS, mapping={f"c{n}": link_entry(f"P-{n}") for n in range(0, 600, 2)})
        before = (await redis.info("commandstats"))["cmdstat_hmget"]["calls"]
        found = await asyncio.gather(*(links.look_up_link(f"c{n}") for n in [*range(600), *range(300)]))
        assert [link and link.partner_id for link in found[:4]] == ["P-0", None, "P-2", None]
        assert sum(link is not None for link in found) == 450
        assert (await redis.info("commandstats"))["cmdstat_hmget"]["calls"] - before <= 3
        crowd = await asyncio.gather(*(links.look_up_link(f"d{n}") for n in range(2 * MOST_WAITING)))
        assert crowd == [None] * (2 * MOST_WAITING)
        await redis.hset(redis_keys.LINKS, "d1", link_entry())
        assert await links.look_up_link("d1") is not None


async def test_a_look_up_ends_in_time_when_redis_hangs(empty_redis_url: str) -> None:
    async with (
        Redis.from_url(empty_redis_url) as writing,
        Redis.from_url(empty_redis_url, socket_timeout=None) as redis,
    ):
        links = Links(redis, look_up_seconds=0.1)
        await writing.client_pause(1500, all=True)
        began_s = time.monotonic()
        answers = await asyncio.gather(*(links.look_up_link(f"c{n}") for n in range(50)))
        assert answers == [None] * 50
        assert await links.look_up_partner("P-1", waited_s=0.09) is None
        assert time.monotonic() - began_s < 1.0
        await asyncio.sleep(0)
        assert await links.look_up_link("c") is None, "nobody waits for a silent Redis"


async def test_without_redis_unknown_stays_unknown_and_nothing_raises() -> None:
    async with Redis.from_url("unix:///nonexistent/redis.sock") as redis:
        links = Links(redis)
        await links.start(wait_seconds=0.05)
        assert not links.loaded.is_set()
        began_s = time.monotonic()
        assert await links.look_up_link("c") is None
        assert await links.look_up_partner("P-1") is None
        assert time.monotonic() - began_s < 1.0
        await links.close()
