"""Partners' own state: one step at a time, kept in the journal as well."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis.asyncio

from tracker import redis_keys
from tracker.directory import Directory, Known, Step
from tracker.errors import Conflict, Unavailable
from tracker.state import change, new_number, state_step

BILLING = (redis_keys.BILLING, "P")


async def kept(client: redis.asyncio.Redis) -> list[dict[str, str]]:
    """The directory entries in the journal."""
    entries = await client.xrange(redis_keys.FACT_JOURNAL)
    return [json.loads(line) for _, fields in entries for line in fields.get(b"entries", b"").splitlines()]


@pytest.mark.anyio
async def test_a_change_is_written_kept_and_told(empty_redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(empty_redis_url) as client:
        directory = Directory(client)

        async def save(known: Known) -> tuple[str | None, Step | None]:
            return known.get(*BILLING), state_step(
                known, {BILLING: 'Zoë\n"1"', (redis_keys.PARTNERS, "P"): "{}"}, changes=(("billing", "P"),)
            )

        async def forget(known: Known) -> tuple[str | None, Step | None]:
            return known.get(*BILLING), state_step(known, {BILLING: None})

        assert await change(directory, [BILLING], save) is None
        assert await change(directory, [BILLING], forget) == 'Zoë\n"1"'
        assert not await client.hexists(*BILLING)
        entries = [(one["kind"], one["key"], one["value"]) for one in await kept(client)]
        assert entries == [("billing", "P", 'Zoë\n"1"'), ("billing", "P", "")]
        told = await client.xrange(redis_keys.CHANGES)
        assert [fields for _, fields in told] == [{b"kind": b"billing", b"key": b"P"}]
        assert await client.hget(redis_keys.FACT_COUNTS, "accepted") == b"0"


@pytest.mark.anyio
async def test_changes_at_once_happen_one_after_the_other(empty_redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(empty_redis_url) as client:
        directory = Directory(client)

        async def add(known: Known) -> tuple[int, Step | None]:
            number = await new_number(client, known, "withdrawal")
            numbers = [*json.loads(known.get(*BILLING) or "[]"), number]
            return number, state_step(known, {BILLING: json.dumps(numbers)})

        given = await asyncio.gather(*(change(directory, [BILLING], add) for _ in range(12)))
        assert sorted(given) == sorted(json.loads(await client.hget(*BILLING) or b""))
        assert len(set(given)) == 12


@pytest.mark.anyio
async def test_nothing_is_changed_where_there_is_nothing_to_do_or_it_is_refused(empty_redis_url: str) -> None:
    async with redis.asyncio.Redis.from_url(empty_redis_url) as client:

        async def nothing(known: Known) -> tuple[int, Step | None]:
            return 7, None

        async def refuse(known: Known) -> tuple[int, Step | None]:
            raise Conflict("no")

        async def write(known: Known) -> tuple[int, Step | None]:
            return 1, state_step(known, {BILLING: "x"})

        assert await change(Directory(client), [BILLING], nothing) == 7
        with pytest.raises(Conflict):
            await change(Directory(client), [BILLING], refuse)
        lost = Directory(client, was_complete=lambda: True)
        with pytest.raises(Unavailable):
            await change(lost, [BILLING], write)
        assert await client.keys() == []
