"""Puts facts into the journal as the tracker does (docs/architecture.md, "The journal"), and reads progress."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import redis

from tracker import redis_keys
from tracker.events import Clicked, ClientNamed, Fact, click_row, fact_row


def journal(client: redis.Redis, *facts: Clicked | Fact | ClientNamed, entry_size: int = 100) -> None:
    """Append facts, at most `entry_size` to an entry, and count them as accepted."""
    clicks: dict[int, list[str]] = defaultdict(list)
    others: list[str] = []
    for fact in facts:
        if isinstance(fact, Clicked):
            clicks[redis_keys.shard_of(fact.visitor_id or fact.click_id)].append(click_row(fact))
        elif isinstance(fact, ClientNamed):
            client.xadd(redis_keys.client_journal(fact.data_center), {"clients": fact_row(fact)})
        else:
            others.append(fact_row(fact))
    for shard, rows in clicks.items():
        for start in range(0, len(rows), entry_size):
            chunk = rows[start : start + entry_size]
            journal_bytes(client, redis_keys.click_journal(shard), "clicks", "".join(chunk).encode(), len(chunk))
    for start in range(0, len(others), entry_size):
        chunk = others[start : start + entry_size]
        journal_bytes(client, redis_keys.FACT_JOURNAL, "facts", "\n".join(chunk).encode(), len(chunk))


def journal_bytes(client: redis.Redis, stream: str, field: str, data: bytes, count: int) -> None:
    """Append one entry that counts as `count` accepted facts, whatever its bytes are."""
    counts = stream.replace(":journal", ":counts")
    is_click = stream != redis_keys.FACT_JOURNAL
    with client.pipeline(transaction=True) as step:
        step.xadd(stream, {field: data, "n": count})
        step.hincrby(counts, "accepted", count)
        if is_click:
            step.hincrby(redis_keys.JOURNAL, "accepted", count)
        step.execute()


def journal_directory_entry(client: redis.Redis, kind: str, key: str, value: str, written_at: int) -> None:
    entry = json.dumps({"kind": kind, "key": key, "value": value, "written_at": written_at})
    client.xadd(redis_keys.FACT_JOURNAL, {"facts": "", "n": 0, "entries": entry})


def pipeline(client: redis.Redis) -> dict[str, int]:
    """What `GET /v1/pipeline` would say of the journal."""
    found: Any = client.hgetall(redis_keys.PROGRESS)
    counts = {name: int(found.get(name.encode(), 0)) for name in ("stored", "duplicates", "quarantined")}
    hashes = [*map(redis_keys.click_counts, range(redis_keys.SHARDS)), redis_keys.FACT_COUNTS]
    accepted = sum(int(client.hget(name, "accepted") or 0) for name in hashes)
    return {"accepted": accepted, **counts, "pending": accepted - sum(counts.values())}


def room_taken(client: redis.Redis) -> tuple[int, int]:
    """How many clicks and how many other facts wait, as far as the bound on the journal goes."""
    found = [client.hmget(name, "accepted", "loaded") for name in (redis_keys.JOURNAL, redis_keys.FACT_COUNTS)]
    clicks, facts = (int(accepted or 0) - int(loaded or 0) for accepted, loaded in found)  # type: ignore[misc]
    return clicks, facts


def waiting_entries(client: redis.Redis, data_centers: Sequence[str] = ("us-south1", "eu-west3")) -> int:
    """How many entries are in all streams of the journal."""
    streams = [*map(redis_keys.click_journal, range(redis_keys.SHARDS)), redis_keys.FACT_JOURNAL]
    return sum(client.xlen(name) for name in [*streams, *map(redis_keys.client_journal, data_centers)])
