"""How far accepted facts have come: `accepted = stored + duplicates + quarantined + pending + spooled`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any, cast

from redis.asyncio import Redis

from tracker import redis_keys
from tracker.settings import Settings
from tracker.spool import folder_bytes, spooled_count


@dataclass(frozen=True, slots=True)
class JournalRoom:
    """What waits in the journal to be loaded, and how much may (journal_bound.py)."""

    waiting_clicks: int
    limit_clicks: int
    waiting_facts: int
    limit_facts: int
    full: bool
    """Whether clicks go to the spool because so many wait."""


@dataclass(frozen=True, slots=True)
class SpoolRoom:
    """How much of its room the spool of this machine takes."""

    bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Counts of accepted facts over all time, by where they are; and the room of where they wait."""

    accepted: int
    stored: int
    duplicates: int
    quarantined: int
    pending: int
    spooled: int
    attributed: bool
    attributed_facts: int
    """How many accepted facts are in the ledger's and reports' results. Clicks that decide nothing yet do not wait for
    the round of the facts that came with them."""
    journal: JournalRoom
    spool: SpoolRoom

    @property
    def counts(self) -> dict[str, int]:
        """The counts alone."""
        names = ("accepted", "stored", "duplicates", "quarantined", "pending", "spooled")
        return {name: getattr(self, name) for name in names}

    def document(self) -> dict[str, Any]:
        return asdict(self)


async def read_pipeline(redis: Redis, settings: Settings) -> Pipeline:
    """Read the counts. Progress is read before what was accepted, so that `pending` is never negative."""
    progress = cast("dict[bytes, bytes]", await redis.hgetall(redis_keys.PROGRESS))
    spooled = await asyncio.to_thread(spooled_count, settings.spool)
    async with redis.pipeline(transaction=False) as pipe:
        for shard in range(redis_keys.SHARDS):
            pipe.hget(redis_keys.click_counts(shard), "accepted")
        pipe.hmget(redis_keys.FACT_COUNTS, "accepted", "loaded")
        pipe.hmget(redis_keys.JOURNAL, "accepted", "loaded", "full")
        *counts, facts, clicks = await pipe.execute()
    journaled = sum(int(count or 0) for count in (*counts, facts[0]))
    stored, duplicates, quarantined, attributed = (
        int(progress.get(name, 0)) for name in (b"stored", b"duplicates", b"quarantined", b"attributed")
    )
    bound = settings.journal_bound
    return Pipeline(
        accepted=journaled + spooled,
        stored=stored,
        duplicates=duplicates,
        quarantined=quarantined,
        pending=journaled - stored - duplicates - quarantined,
        spooled=spooled,
        attributed=spooled == 0 and attributed >= journaled,
        attributed_facts=attributed,
        journal=JournalRoom(
            waiting_clicks=_waiting(*clicks[:2]),
            limit_clicks=bound.clicks,
            waiting_facts=_waiting(*facts),
            limit_facts=bound.facts,
            full=clicks[2] is not None,
        ),
        spool=SpoolRoom(folder_bytes(settings.spool), settings.spool_bytes),
    )


def _waiting(accepted: bytes | None, loaded: bytes | None) -> int:
    return max(0, int(accepted or 0) - int(loaded or 0))
