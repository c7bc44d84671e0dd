"""`POST /v1/import`: NDJSON of any size, streamed. Every line is accepted, a duplicate, or rejected with reasons."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tracker import redis_keys
from tracker.bodies import FIELDS, Body, Reading, parse_json, read_body
from tracker.errors import Problem, Unavailable
from tracker.events import Clicked
from tracker.intake import Accepted, Intake
from tracker.journal import Journal
from tracker.program import DAY_MS, Program
from tracker.user_agent import MAX_USER_AGENT, read_user_agent

BATCH_LINES = 500
MAX_LINE_BYTES = 65_536
MAX_REJECTED_LISTED = 10_000
SEEN_CLICKS_TTL_SECONDS = 400 * DAY_MS // 1000


@dataclass(slots=True)
class ImportResult:
    """What became of an import's lines. `rejected` lists the first MAX_REJECTED_LISTED of them."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    rejected_total: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    def reject(self, line: int, problem: Problem) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MAX_REJECTED_LISTED:
            errors = problem.errors or [{"field": "", "message": problem.detail}]
            self.rejected.append({"line": line, "errors": errors})

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": sorted(self.rejected, key=lambda item: item["line"]),
        }
        if self.rejected_total > len(self.rejected):
            document["rejected_total"] = self.rejected_total
        if self.ignored:
            document["ignored"] = dict(sorted(self.ignored.items()))
        return document


class Importer:
    """Reads lines, and accepts clicks and other facts in batches."""

    def __init__(
        self,
        redis: Redis,
        intake: Intake,
        journal: Journal,
        program: Program,
        now_ms: Callable[[], int],
    ) -> None:
        self._redis = redis
        self._intake = intake
        self._journal = journal
        self._program = program
        self._now_ms = now_ms

    async def run(self, chunks: AsyncIterator[bytes]) -> ImportResult:
        """Import a stream of bytes. Raises Unavailable when Redis fails or the journal is full on the way: what was
        accepted until then stays, and the same import again counts it as duplicates."""
        result = ImportResult()
        batch: list[tuple[int, Body]] = []
        async for number, raw in lines_of(chunks):
            try:
                batch.append((number, self._read(raw)))
            except Problem as problem:
                result.reject(number, problem)
            if len(batch) >= BATCH_LINES:
                await self._take_or_stop(batch, result)
                batch = []
        await self._take_or_stop(batch, result)
        return result

    async def _take_or_stop(self, batch: Sequence[tuple[int, Body]], result: ImportResult) -> None:
        try:
            await self._take(batch, result)
        except (RedisError, OSError, Unavailable) as error:
            why = error if isinstance(error, Unavailable) else Unavailable("A store does not answer.")
            detail = f"{why.detail} What this import brought until now stays: send all of it again."
            raise Unavailable(detail, why.retry_after_seconds) from error

    def _read(self, raw: bytes | None) -> Body:
        if raw is None:
            raise Problem(f"the line is longer than {MAX_LINE_BYTES} bytes")
        document = parse_json(raw.removeprefix(b"\xef\xbb\xbf"), "line")  # some editors begin a file with it
        kind = document.get("type")
        if not isinstance(kind, str) or kind not in FIELDS:
            message = f"must be one of {', '.join(FIELDS)}"
            raise Problem(f"type: {message}", [{"field": "type", "message": message}])
        return read_body(kind, document, Reading(self._program, self._now_ms()))

    async def _take(self, batch: Sequence[tuple[int, Body]], result: ImportResult) -> None:
        clicks = [(line, body) for line, body in batch if body.type == "click"]
        facts = [(line, body) for line, body in batch if body.type != "click"]
        for _, body in batch:
            result.ignored.update(body.ignored)
        if clicks:
            await self._take_clicks(clicks, result)
        if facts:
            outcomes = await self._intake.accept_batch([body for _, body in facts])
            for (line, _), outcome in zip(facts, outcomes, strict=True):
                if not isinstance(outcome, Accepted):
                    result.reject(line, outcome)
                elif outcome.is_replay:
                    result.duplicates += 1
                else:
                    result.accepted += 1

    async def _take_clicks(self, batch: Sequence[tuple[int, Body]], result: ImportResult) -> None:
        """Clicks are remembered after they are journaled: a crash in between repeats them, and the loader drops
        repeated click ids, so none is lost and none counts twice."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for _, body in batch:
                pipe.hget(*_seen_click(body))
            known: list[bytes | None] = await pipe.execute()
        digests = {_seen_click(body): value for (_, body), value in zip(batch, known, strict=True) if value}
        fresh: list[Body] = []
        for line, body in batch:
            key, digest = _seen_click(body), bytes.fromhex(body.digest)
            if digests.get(key, digest) != digest:
                message = "was used before for another click"
                result.reject(line, Problem(message, [{"field": "click_id", "message": message}]))
            elif key in digests:
                result.duplicates += 1
            else:
                digests[key] = digest
                fresh.append(body)
        if not fresh:
            return
        await self._journal.append_many([self._click(body) for body in fresh])
        result.accepted += len(fresh)
        async with self._redis.pipeline(transaction=False) as pipe:
            for body in fresh:
                bucket, name = _seen_click(body)
                pipe.hset(bucket, name, bytes.fromhex(body.digest))
                pipe.expire(bucket, SEEN_CLICKS_TTL_SECONDS)
            await pipe.execute()

    def _click(self, body: Body) -> Clicked:
        agent: str = body.get("user_agent", "")[:MAX_USER_AGENT]
        browser = read_user_agent(agent) if agent else None
        return Clicked(
            click_id=body.values["click_id"],
            clicked_at=body.values["clicked_at"],
            visitor_id=body.values["visitor_id"],
            partner_id=body.values["partner_id"],
            product=body.get("product", self._program.default_product),
            campaign=body.get("campaign", ""),
            verdict="bot" if browser and browser.is_bot else "human",
            source="import",
            country=body.get("country", ""),
            device=browser.device if browser else "",
            browser=browser.browser if browser else "",
            os=browser.os if browser else "",
            user_agent=agent,
            referrer=body.get("referrer", "")[:512],
        )


def _seen_click(body: Body) -> tuple[str, bytes]:
    """The bucket and the field that remember an imported click: 16 bits and 8 bytes of a hash of its id."""
    click_id: str = body.values["click_id"]
    hashed = hashlib.blake2b(click_id.encode(), digest_size=10).digest()
    return redis_keys.seen_clicks(redis_keys.shard_of(click_id), hashed[:2].hex()), hashed[2:]


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Lines of a stream with their numbers from 1, without blank ones; None for a line that is too long."""
    number, rest, is_skipping = 0, b"", False
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            if is_skipping or len(line) > MAX_LINE_BYTES:
                is_skipping = False
                yield number, None
            elif line.strip():
                yield number, line
        if len(rest) > MAX_LINE_BYTES:
            rest, is_skipping = b"", True
    if is_skipping or len(rest) > MAX_LINE_BYTES:
        yield number + 1, None
    elif rest.strip():
        yield number + 1, rest
