"""The directory in memory: loaded, followed, and asked once more before anything is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tracker import redis_keys
from tracker.links import CHANGE_ENTRIES, SCAN_ENTRIES, Link, Links
from tracker.standing import Change

pytestmark = pytest.mark.anyio


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
async def links_on(url: str, monotonic_s: Callable[[], float] = time.monotonic) -> AsyncIterator[tuple[Links, Redis]]:
    """Started links, and a client to change the directory with. Look-ups get all the time that a busy machine needs."""
    retry = Retry(NoBackoff(), 0)
    async with Redis.from_url(url, retry=retry, socket_timeout=None) as redis, Redis.from_url(url) as writing:
        links = Links(redis, look_up_seconds=5.0, monotonic_s=monotonic_s)
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
        assert len(links) == count + 1
        assert links.find_link(f"c{count - 1}") == Link(f"P-{count - 1}", "livechat", "", "")
        assert links.find_link("home") == Link("P-1", "livechat", "pp_x", "https://www.livechat.com/y")
        assert links.find_link("broken") is None
        standing = links.standing("P-1")
        assert standing is not None
        assert (standing.partner_id, standing.joined_at, standing.email_hash) == ("P-1", 7, "ab")
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


async def test_after_a_lost_connection_everything_is_loaded_again(empty_redis_url: str) -> None:
    async with links_on(empty_redis_url) as (links, redis):
        await redis.hset(redis_keys.LINKS, "quiet", link_entry())
        await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: links.find_link("quiet"))
        await write(redis, "link", redis_keys.LINKS, "followed", link_entry())
        await until(lambda: links.find_link("followed"))


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
