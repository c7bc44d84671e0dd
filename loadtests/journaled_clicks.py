"""Clicks as a busy tracker journals them, made in bulk: for benchmarks of what comes after the journal."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import BinaryIO

from redis import Redis

from loadtests.browsers import BROWSERS
from tracker import redis_keys
from tracker.events import Clicked, click_row
from tracker.ids import IdMaker
from tracker.redis_keys import shard_of
from tracker.user_agent import read_user_agent

CLICKS_PER_MS = 40
KINDS = 5_000  # of clicks that differ in more than ids and time
PARTNERS = 2_000
CAMPAIGNS = ("", "", "pp_spring", "pp_newsletter-2026", "pp_chat-for-shops")
REFERRERS = ("", "https://www.google.com/", "https://blog.example.com/best-live-chat-software", "https://t.co/k3Hg9")
QUERIES = ("utm_source=PP", "utm_source=PP&utm_campaign=spring&gclid=Cj0KCQiA3rKQBhCNARIsACUEW_Zq1")
COUNTRIES = ("US", "PL", "DE", "BR", "")
BATCHES_PER_CALL = 100
_ID, _VISITOR, _AT = "00000000-0000-7000-8000-000000000001", "00000000-0000-4000-8000-000000000002", 10**12


def kinds_of_clicks(chance: random.Random) -> list[str]:
    """What clicks of one run have beside ids and time: rows from there on. Few partners have most of them."""
    return [_kind(chance) for _ in range(KINDS)]


def journal_clicks(
    redis: Redis, count: int, batch: int, kinds: list[str], chance: random.Random, copy: BinaryIO | None = None
) -> None:
    """Append `count` clicks to the journal, `batch` an entry, counted as accepted; write their lines to `copy` as well.

    They are an even stream of visits that ends now, each visitor a new one and each click one of `kinds`.
    """
    batches = _batches(count, batch, kinds, chance)
    while True:
        with redis.pipeline(transaction=False) as pipe:
            for _, (shard, lines, clicks) in zip(range(BATCHES_PER_CALL), batches, strict=False):
                pipe.xadd(redis_keys.click_journal(shard), {"clicks": lines, "n": clicks})
                pipe.hincrby(redis_keys.click_counts(shard), "accepted", clicks)
                pipe.hincrby(redis_keys.JOURNAL, "accepted", clicks)
                if copy is not None:
                    copy.write(lines)
            if not pipe.execute():
                return


def _batches(count: int, batch: int, kinds: list[str], chance: random.Random) -> Iterator[tuple[int, bytes, int]]:
    """Shard, lines and number of clicks of each batch."""
    ids = IdMaker()
    first_ms = time.time_ns() // 1_000_000 - count // CLICKS_PER_MS
    for start in range(0, count, batch):
        lines = []
        visitor = ids.visitor()
        shard = shard_of(visitor)  # a batch goes to the journal of its first click's shard
        for number in range(start, min(start + batch, count)):
            at = first_ms + number // CLICKS_PER_MS
            lines.append(f"{ids.click(at)}\t{at}\t{visitor}{kinds[int(chance.random() * KINDS)]}")
            visitor = ids.visitor()
        yield shard, "".join(lines).encode(), len(lines)


def _kind(chance: random.Random) -> str:
    """The row of a click from behind the ids and the time on."""
    user_agent = chance.choice(BROWSERS)
    browser = read_user_agent(user_agent)
    click = Clicked(
        click_id=_ID,
        clicked_at=_AT,
        visitor_id=_VISITOR,
        partner_id=f"W-{int(chance.paretovariate(0.8)) % PARTNERS:07d}",
        product="livechat" if chance.random() < 0.8 else "partner_program",
        campaign=chance.choice(CAMPAIGNS),
        country=chance.choice(COUNTRIES),
        device=browser.device,
        browser=browser.browser,
        os=browser.os,
        user_agent=user_agent,
        referrer=chance.choice(REFERRERS),
        landing_query=chance.choice(QUERIES),
        ip_prefix=f"{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}.0/24",
    )
    return click_row(click).removeprefix(f"{_ID}\t{_AT}\t{_VISITOR}")
