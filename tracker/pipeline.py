"""How far accepted facts have come: `accepted = stored + duplicates + quarantined + pending + spooled`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.spool import spooled_count


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Counts of accepted facts over all time, by where they are."""

    accepted: int
    stored: int
    duplicates: int
    quarantined: int
    pending: int
    spooled: int
    attributed: bool

    def document(self) -> dict[str, int | bool]:
        return asdict(self)


async def read_pipeline(redis: Redis, spool: Path) -> Pipeline:
    """Read the counts. Progress is read before what was accepted, so that `pending` is never negative."""
    progress = cast("dict[bytes, bytes]", await redis.hgetall(redis_keys.PROGRESS))
    spooled = spooled_count(spool)
    async with redis.pipeline(transaction=False) as pipe:
        for shard in range(redis_keys.SHARDS):
            pipe.hget(redis_keys.click_counts(shard), "accepted")
        pipe.hget(redis_keys.FACT_COUNTS, "accepted")
        counts: list[bytes | None] = await pipe.execute()
    journaled = sum(int(count or 0) for count in counts)
    stored, duplicates, quarantined, attributed = (
        int(progress.get(name, 0)) for name in (b"stored", b"duplicates", b"quarantined", b"attributed")
    )
    pending = journaled - stored - duplicates - quarantined
    return Pipeline(
        accepted=journaled + spooled,
        stored=stored,
        duplicates=duplicates,
        quarantined=quarantined,
        pending=pending,
        spooled=spooled,
        attributed=spooled == 0 and attributed >= journaled,
    )
