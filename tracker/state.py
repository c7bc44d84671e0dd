"""Partners' own state: campaigns, billing, withdrawals and the like, which are no facts of the rules.

It lives in hashes of the directory (redis_keys.KEPT) and changes in the same atomic steps as facts do: what a decision
was based on must still hold, and every write is kept in ClickHouse too, so that a rebuild restores it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.delivery import Delivery
from tracker.directory import KIND_OF, Directory, Key, Known, Step
from tracker.errors import Unavailable

T = TypeVar("T")
Decide = Callable[[Known], Awaitable[tuple[T, Step | None]]]

MAX_ATTEMPTS = 50  # of one change; one that others overtake this often is a fault, not a race


def state_step(
    known: Known,
    write: Mapping[Key, str | None],
    changes: tuple[tuple[str, str], ...] = (),
    rows: tuple[str, ...] = (),
    client: tuple[str, str] | None = None,
    records: tuple[str, ...] = (),
    deliveries: tuple[Delivery, ...] = (),
) -> Step:
    """The step that makes `write` true, taken only if all that `known` holds is still so. None removes an entry.

    `rows` are facts (`fact_row`) that become true with it; `changes` are told to every process; `client` is a data
    center's stream and lines of clients' personal data, which hold `records`; `deliveries` tell others of it.
    """
    kept = tuple(key for key in write if key[0] in KIND_OF)
    return Step(rows, dict(known.entries), write, changes, client, kept, records, deliveries)


async def change(directory: Directory, reads: Iterable[Key], decide: Decide[T]) -> T:
    """Change state as `decide` says, and give its answer: read, decide, commit; again if something changed in between.

    `decide` is told what the entries `reads` hold and gives its answer with the step that makes it true, or None where
    there is nothing to do. It may be asked again. Raises what it raises; Unavailable, RedisError.
    """
    wanted = tuple(reads)
    for _ in range(MAX_ATTEMPTS):
        known = Known()
        await directory.read(known, wanted)
        await directory.require()
        answer, step = await decide(known)
        if step is None or (await directory.commit([step]))[0]:
            return answer
    raise Unavailable("this is being changed by others; try again")


async def new_number(redis: Redis, known: Known, kind: str) -> int:
    """A number for a new thing of `kind` (redis_keys.NUMBERED), and that `known` has nothing under it yet."""
    number = int(await redis.hincrby(redis_keys.COUNTERS, kind, 1))
    known.entries[redis_keys.KEPT[kind], str(number)] = None
    return number
