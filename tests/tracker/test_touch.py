"""`POST /touch`: what a page of the program may report, and who may not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette

from tracker import redis_keys
from tracker.claims import Claims
from tracker.click_intake import ClickIntake
from tracker.events import CLICK_COLUMNS
from tracker.journal import Journal
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.program import Program
from tracker.spool import Spool
from tracker.touch import NETWORK_BURST, VISITOR_BURST, Touch, campaign_of
from tracker.visitors import OF_LINK, OF_REDIRECT, is_of_link, make_stamp, read_stamp

pytestmark = pytest.mark.anyio

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
VISITOR = "11111111-1111-4111-8111-111111111111"
SECRET = bytes(32)
NOW_MS = time.time_ns() // 1_000_000
SITE = {"Origin": "https://www.livechat.com"}
REPORT = {
    "visitor_id": VISITOR,
    "partner_id": "W-1",
    "url": "https://partners.livechat.com/join?a=W-1&utm_source=PP&utm_campaign=pp_spring&sub=1#top",
    "referrer": "https://blog.example/",
}


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.problem = json.loads(body) if body else {}

    @property
    def bad_fields(self) -> list[str]:
        return [error["field"] for error in self.problem.get("errors", [])]


class Page:
    """A page that calls the tracker."""

    def __init__(self, app: Starlette, metrics: Metrics) -> None:
        self._app = app
        self.metrics = metrics

    async def post(
        self, body: object, headers: Mapping[str, str] = SITE, method: str = "POST", path: str = "/touch"
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        pairs = {"User-Agent": CHROME, "Content-Type": "text/plain;charset=UTF-8", **headers}.items()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"", "scheme": "http", "root_path": "",
            "client": ("198.51.100.7", 5), "server": ("localhost", 8000), "http_version": "1.1",
            "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        }  # fmt: skip
        await self._app(scope, receive, send)
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


@asynccontextmanager
async def page_on(url: str, spool: Path, click_seconds: float = 5.0) -> AsyncIterator[tuple[Page, Redis]]:
    async with Redis.from_url(url, socket_timeout=None) as redis:
        await redis.hset(redis_keys.PARTNERS, "W-1", json.dumps({"joined_at": 1, "changes": []}))
        links, metrics, program = Links(redis, look_up_seconds=5.0), Metrics("1"), Program()
        journal = Journal(url, Spool(spool), program.window_ms, lambda: NOW_MS, metrics, click_seconds)
        await links.start()
        await journal.start()
        try:
            intake = ClickIntake(program, SECRET, links, journal, metrics, lambda: NOW_MS)
            touch = Touch(intake, Claims(redis))
            yield Page(Starlette(routes=touch.routes()), metrics), redis
        finally:
            await journal.close()
            await links.close()


def stamped(answer: Answer) -> str | None:
    """Whom the fresh stamp of an answer names; it is one of a link."""
    stamp = answer.headers["x-lasttouch-stamp"]
    assert is_of_link(stamp)
    return read_stamp(SECRET, stamp, NOW_MS)


async def clicks(redis: Redis) -> list[dict[str, str]]:
    found = []
    for shard in range(redis_keys.SHARDS):
        for _, fields in await redis.xrange(redis_keys.click_journal(shard)):  # type: ignore[union-attr]
            lines = fields[b"clicks"].decode().splitlines()  # type: ignore[index, union-attr]
            found += [dict(zip(CLICK_COLUMNS, line.split("\t"), strict=True)) for line in lines]
    return found


async def test_a_landing_becomes_a_click_and_a_touch(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        answer = await page.post(REPORT)
        assert (answer.status, answer.headers["x-lasttouch"]) == (204, "counted")
        assert answer.headers["access-control-allow-origin"] == SITE["Origin"]
        assert answer.headers["vary"] == "Origin"
        (click,) = await clicks(redis)
        kept = {name: click[name] for name in ("visitor_id", "partner_id", "product", "campaign", "verdict", "source")}
        assert kept == {
            "visitor_id": VISITOR, "partner_id": "W-1", "product": "partner_program", "campaign": "pp_spring",
            "verdict": "human", "source": "touch",
        }  # fmt: skip
        assert click["landing_query"] == "utm_source=PP&utm_campaign=pp_spring&sub=1"
        assert (click["referrer"], click["ip_prefix"]) == ("https://blog.example/", "198.51.100.0/24")
        assert (click["clicked_at"], click["device"]) == (str(NOW_MS), "desktop")
        stored = await redis.get(redis_keys.touches(VISITOR))
        assert isinstance(stored, bytes) and stored.decode().split(" ")[1:3] == [click["click_id"], "W-1"]


@pytest.mark.parametrize(
    ("headers", "report", "result", "visitor_id"),
    [
        ({"User-Agent": "curl/8.6.0"}, {}, "bot", VISITOR),
        ({"Sec-GPC": "1"}, {}, "opted-out", "\\N"),
        ({"Sec-Purpose": "prefetch;prerender"}, {}, "prefetch", VISITOR),
        ({}, {"partner_id": "Nobody"}, "unknown-partner", VISITOR),
    ],
)
async def test_it_is_screened_like_a_redirect(
    empty_redis_url: str, tmp_path: Path, headers: dict[str, str], report: dict[str, str], result: str, visitor_id: str
) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        answer = await page.post({**REPORT, **report}, {**SITE, **headers})
        assert (answer.status, answer.headers["x-lasttouch"]) == (204, result)
        (click,) = await clicks(redis)
        assert click["visitor_id"] == visitor_id
        assert (await redis.get(redis_keys.touches(VISITOR)) is not None) is (result == "unknown-partner")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "https://www.livechat.com.evil.example", "https://www.livechat.com:8443", "x"],
)
async def test_foreign_origins_are_refused_without_cors(empty_redis_url: str, tmp_path: Path, origin: str) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        for method in ("POST", "OPTIONS"):
            answer = await page.post(REPORT, {"Origin": origin}, method)
            assert answer.status == 403
            assert answer.headers["content-type"] == "application/problem+json"
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert await clicks(redis) == []


async def test_preflight(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        asked = {**SITE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        answer = await page.post(b"", asked, "OPTIONS")
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == SITE["Origin"]
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert answer.headers["access-control-allow-headers"] == "Content-Type"
        assert await clicks(redis) == []


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"visitor_id": VISITOR.replace("1", "A")}, ["visitor_id"]),
        ({"visitor_id": None}, ["visitor_id"]),
        ({"visitor_id": "00000000-0000-0000-0000-000000000000"}, ["visitor_id"]),
        ({"partner_id": "a b"}, ["partner_id"]),
        ({"partner_id": 7, "url": []}, ["partner_id", "url"]),
        ({"url": "https://evil.example/"}, ["url"]),
        ({"url": "/relative"}, ["url"]),
        ({"referrer": {}}, ["referrer"]),
    ],
)
async def test_every_bad_field_is_named(
    empty_redis_url: str, tmp_path: Path, change: dict[str, object], fields: list[str]
) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        answer = await page.post({**REPORT, **change})
        assert (answer.status, answer.bad_fields) == (422, fields)
        assert answer.headers["access-control-allow-origin"] == SITE["Origin"], "the page may read why"
        assert await clicks(redis) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"\xff", 422),
        (b"[" * 4000, 422),
        (b'{"a": NaN}', 422),
        (b" " * 4097, 413),
    ],
)
async def test_bodies_that_are_none(empty_redis_url: str, tmp_path: Path, body: bytes, status: int) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, _):
        answer = await page.post(body)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_strange_text_is_kept_without_an_error(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        url = "https://www.livechat.com/?x=\ud800é|&utm_campaign=pp_%0A"
        answer = await page.post({**REPORT, "url": url, "referrer": "\ud800\t\n" + "r" * 900})
        assert answer.status == 204
        (click,) = await clicks(redis)
        assert click["campaign"] == ""


async def test_a_program_without_origin_may_call_too(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, _):
        assert (await page.post(REPORT, {})).status == 204


async def test_what_could_not_be_recorded_is_said(empty_redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the spool folder")
    async with page_on(empty_redis_url, tmp_path / "file" / "spool", click_seconds=0.1) as (page, redis):
        await redis.client_pause(60_000, all=False)
        try:
            answer = await page.post(REPORT)
        finally:
            await redis.client_unpause()
        assert (answer.status, "retry-after" in answer.headers) == (503, True)
        assert answer.headers["access-control-allow-origin"] == SITE["Origin"]


OTHER, THIRD = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"


async def test_a_stamp_makes_one_browser_its_visitor_on_each_site(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        landing = {**REPORT, "lt": make_stamp(SECRET, OTHER, NOW_MS)}
        first = await page.post(landing)
        assert (first.status, first.headers["x-lasttouch"], stamped(first)) == (204, "stamped", OTHER)
        assert (await page.post(landing)).headers["x-lasttouch"] == "stamped", "the same browser asks again"
        assert await clicks(redis) == []
        elsewhere = await page.post({**landing, "visitor_id": THIRD, "url": "https://www.livechat.com/?a=W-1"})
        assert elsewhere.headers["x-lasttouch"] == "stamped"
        second = await page.post({**landing, "visitor_id": THIRD})
        assert (second.headers["x-lasttouch"], stamped(second)) == ("counted", THIRD)
        (click,) = await clicks(redis)
        assert click["visitor_id"] == THIRD
        assert (await page.post({**landing, "visitor_id": OTHER})).headers["x-lasttouch"] == "stamped"
        assert {key async for key in redis.scan_iter("*:stamp:*")} and all(
            [0 < await redis.ttl(key) <= 86_400 async for key in redis.scan_iter("*:stamp:*")]
        )


async def test_of_two_ids_the_last_touched_is_the_visitor_of_a_hyperlink(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        for visitor, moment in ((VISITOR, NOW_MS - 5), (OTHER, NOW_MS - 9)):
            await redis.set(redis_keys.touches(visitor), f"{moment} {visitor} W-1 livechat ")
        for version, said, visitor in ((OF_LINK, "kept", VISITOR), (OF_REDIRECT, "stamped", OTHER)):
            answer = await page.post({**REPORT, "lt": make_stamp(SECRET, OTHER, NOW_MS, version)})
            assert (answer.headers["x-lasttouch"], stamped(answer)) == (said, visitor)
        answer = await page.post({**REPORT, "visitor_id": THIRD, "lt": make_stamp(SECRET, VISITOR, NOW_MS, OF_LINK)})
        assert (answer.headers["x-lasttouch"], stamped(answer)) == ("stamped", VISITOR)


NOT_GENUINE = {
    "of another secret": make_stamp(b"other", OTHER, NOW_MS), "long": "x" * 3000, "empty": "", "no stamp": "A" * 44,
    "none": None,
}  # fmt: skip


@pytest.mark.parametrize("stamp", NOT_GENUINE.values(), ids=NOT_GENUINE)
async def test_a_stamp_that_is_not_genuine_is_a_direct_link(
    empty_redis_url: str, tmp_path: Path, stamp: str | None
) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, _):
        answer = await page.post({**REPORT, "lt": stamp})
        assert (answer.headers["x-lasttouch"], stamped(answer)) == ("counted", VISITOR)
        assert (await page.post({**REPORT, "lt": make_stamp(SECRET, OTHER, NOW_MS - 90_000_000)})).status == 204


async def test_who_asked_not_to_be_followed_gets_no_stamp(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, _):
        asks = {**SITE, "Sec-GPC": "1"}
        landed = await page.post({**REPORT, "lt": make_stamp(SECRET, OTHER, NOW_MS)}, asks)
        assert (landed.headers["x-lasttouch"], "x-lasttouch-stamp" in landed.headers) == ("opted-out", False)
        asked = await page.post({"visitor_id": VISITOR}, asks, path="/touch/stamp")
        assert (asked.headers["x-lasttouch"], "x-lasttouch-stamp" in asked.headers) == ("opted-out", False)


async def test_a_visitor_gets_a_fresh_stamp(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        answer = await page.post({"visitor_id": VISITOR}, path="/touch/stamp")
        assert (answer.status, answer.headers["x-lasttouch"], stamped(answer)) == (204, "stamp", VISITOR)
        assert "X-Lasttouch-Stamp" in answer.headers["access-control-expose-headers"]
        assert await clicks(redis) == []
        for wrong in ({}, {"visitor_id": "x"}, {"visitor_id": 7}):
            refused = await page.post(wrong, path="/touch/stamp")
            assert (refused.status, refused.bad_fields) == (422, ["visitor_id"])
        assert (
            await page.post({"visitor_id": VISITOR}, {"Origin": "https://evil.example"}, path="/touch/stamp")
        ).status == 403


async def test_a_stamp_is_believed_while_redis_is_silent(
    empty_redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker.claims.CLAIM_SECONDS", 0.05)
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        await redis.client_pause(60_000, all=False)
        try:
            answer = await page.post({**REPORT, "lt": make_stamp(SECRET, OTHER, NOW_MS)})
        finally:
            await redis.client_unpause()
        assert (answer.status, stamped(answer)) == (204, OTHER)


async def test_a_visitor_who_floods_is_refused_and_others_are_not(empty_redis_url: str, tmp_path: Path) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, redis):
        answers = [await page.post(REPORT) for _ in range(VISITOR_BURST + 3)]
        assert [one.status for one in answers] == [204] * VISITOR_BURST + [429] * 3
        assert answers[-1].headers["retry-after"] == "5"
        assert answers[-1].headers["access-control-allow-origin"] == SITE["Origin"]
        assert (await page.post({**REPORT, "visitor_id": OTHER})).status == 204
        assert page.metrics.touches_refused.value("too-many") == 3
        assert len(await clicks(redis)) == VISITOR_BURST + 1


async def test_a_network_that_floods_is_refused_before_its_bodies_are_read(
    empty_redis_url: str, tmp_path: Path
) -> None:
    async with page_on(empty_redis_url, tmp_path) as (page, _):
        statuses = [(await page.post(b"{")).status for _ in range(NETWORK_BURST + 1)]
        assert statuses == [422] * NETWORK_BURST + [429]
        assert (await page.post(b"{", {"Origin": "https://evil.example"})).status == 403
        refused = page.metrics.touches_refused
        assert [refused.value(reason) for reason in ("not-right", "too-many", "foreign-origin")] == [
            NETWORK_BURST,
            1,
            1,
        ]


def test_campaigns_are_our_slugs_only() -> None:
    assert campaign_of(["x=1", "utm_campaign=pp_spring%2Bx"]) == "pp_spring+x"
    assert campaign_of(["utm_campaign=spring"]) == ""
    assert campaign_of(["utm_campaign=pp_" + "x" * 200]) == ""
    assert campaign_of([]) == ""
