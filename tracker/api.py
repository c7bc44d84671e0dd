"""The Conversions API's routes: parse → decide → record → respond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tracker import redis_keys
from tracker.bodies import Reading, parse_json, read_body
from tracker.directory import Directory, Known
from tracker.errors import BadRequest, Forbidden, NotFound, TooLarge, TooSlow, Unauthorized
from tracker.imports import Importer
from tracker.intake import Intake
from tracker.journal import Journal
from tracker.pipeline import read_pipeline
from tracker.program import Program
from tracker.settings import Settings
from tracker.solutions import visibility
from tracker.tokens import Token, Tokens

MAX_BODY_BYTES = 65_536
BODY_SECONDS = 10.0
# How long a call waits for Redis before it is a 503, all its commands together. What Redis did by then is unknown; the
# same call again gets the first answer or does it.
REDIS_SECONDS = 2.0
# So many calls of a worker talk to Redis at a time, each on one connection; the others wait for their turn. redis-py
# has 100 connections, and refuses who wants another.
CALLS_AT_ONCE = 50

CALLS = {
    "/v1/partners": "partner",
    "/v1/signups": "signup",
    "/v1/payments": "payment",
    "/v1/refunds": "refund",
    "/v1/license-events": "license_event",
    "/v1/partner-events": "partner_event",
}
"""Path → kind of fact."""


@dataclass(frozen=True, slots=True)
class ConversionsApi:
    """The handlers, with what they need."""

    redis: Redis
    tokens: Tokens
    directory: Directory
    intake: Intake
    importer: Importer
    program: Program
    journal: Journal
    settings: Settings
    now_ms: Callable[[], int]
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CALLS_AT_ONCE))

    def routes(self) -> list[Route]:
        return [
            *(Route(path, self.accept, methods=["POST"]) for path in CALLS),
            Route("/v1/import", self.import_lines, methods=["POST"]),
            Route("/v1/licenses/{license_id}/visibility", self.visibility, methods=["GET"]),
            Route("/v1/pipeline", self.pipeline, methods=["GET"]),
        ]

    async def accept(self, request: Request) -> Response:
        """One fact: 201 with its answer, or 200 with the first answer again."""
        await self._authorize(request)
        self.journal.require_room()
        document = parse_json(await read_limited(request, MAX_BODY_BYTES))
        body = read_body(CALLS[request.url.path], document, Reading(self.program, self.now_ms()))
        async with asyncio.timeout(REDIS_SECONDS), self.turns:
            accepted = await self.intake.accept(body)
        answer: dict[str, Any] = dict(accepted.answer)
        if body.ignored:
            answer["ignored"] = list(body.ignored)
        if accepted.is_replay:
            return JSONResponse(answer, 200, {"Idempotent-Replay": "true"})
        return JSONResponse(answer, 201)

    async def import_lines(self, request: Request) -> Response:
        """Many facts, one a line: what became of them."""
        await self._authorize(request)
        self.journal.require_room()
        try:
            result = await self.importer.run(_body_chunks(request))
        except ClientDisconnect:
            # What came whole was accepted; the caller is gone, so nobody reads this answer.
            return Response(status_code=400)
        return JSONResponse(result.document())

    async def visibility(self, request: Request) -> Response:
        """What a license's client and partner may see of it (R15)."""
        await self._authorize(request)
        license_id: str = request.path_params["license_id"]
        hashes = (redis_keys.LICENSES, redis_keys.SOLUTION_LICENSES, redis_keys.TRANSFERS)
        keys = [(name, license_id) for name in hashes]
        known = Known()
        async with asyncio.timeout(REDIS_SECONDS), self.turns:
            await self.directory.read(known, keys)
            if known.get(*keys[0]) is None:
                await self.directory.require()
        entry, license_text, transferred_at = (known.get(*key) for key in keys)
        if entry is None:
            raise NotFound("no license has this id")
        moment = int(transferred_at) if transferred_at else None
        return JSONResponse(visibility(license_id, license_text, moment, self.now_ms()))

    async def pipeline(self, request: Request) -> Response:
        await self._authorize(request)
        async with asyncio.timeout(REDIS_SECONDS), self.turns:
            return JSONResponse((await read_pipeline(self.redis, self.settings)).document())

    async def _authorize(self, request: Request) -> Token:
        async with asyncio.timeout(REDIS_SECONDS), self.turns:
            token = await self.tokens.verify(bearer(request), self.now_ms())
            if token is None:
                await self.directory.require()
        if token is None:
            raise Unauthorized("send the admin token or a service token as `Authorization: Bearer …`")
        if token.scope not in ("admin", "service"):
            raise Forbidden(f"a {token.scope} token may not use the Conversions API; use a service token")
        return token


def bearer(request: Request) -> str:
    """The bearer credential of a request, or an empty text (RFC 6750 §2.1)."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


async def read_limited(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is longer than `limit` bytes, TooSlow after BODY_SECONDS."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"the body is larger than {limit} bytes")
    except ClientDisconnect:
        raise BadRequest("the body ended early") from None
    except TimeoutError:
        raise TooSlow(f"the body took longer than {BODY_SECONDS:g} seconds") from None
    return bytes(body)


async def _body_chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
