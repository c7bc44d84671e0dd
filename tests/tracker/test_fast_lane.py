"""The fast lane and the ordinary way give the same bytes for the same request, and journal the same rows."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from redis.asyncio import Redis

from tracker import fast_lane, redis_keys
from tracker.click_intake import ClickIntake
from tracker.client_address import Clients
from tracker.countries import BUNDLED, open_countries
from tracker.fast_lane import REMEMBERED_BYTES, Browser, FastLane, read_browser
from tracker.fast_protocol import FastProtocol
from tracker.heads import REMEMBERED_HEAD_BYTES, Heads
from tracker.journal import Journal
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.program import Program
from tracker.redirect import RedirectApp
from tracker.serving import BoundedHttpProtocol
from tracker.spool import Spool

pytestmark = pytest.mark.anyio

NOW_MS = 1_795_000_000_000
SECRET = b"k" * 32
PROGRAM = Program()
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)
VISITOR = "0b3c1f1e-7d0a-4b8e-9a55-0123456789ab"


@dataclass
class App:
    """The redirect with its fast lane, as tracker/app.py puts them together."""

    redirect: RedirectApp
    lane: FastLane
    metrics: Metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.redirect(scope, receive, send)


class CountingLane(FastLane):
    """Counts what it takes, and what of it was not even parsed, so that a test can see that it is taken at all."""

    taken = unparsed = 0

    def answer(self, *arguments: Any) -> Any:
        answer = super().answer(*arguments)
        self.taken += answer is not None
        return answer

    def answer_again(self, *arguments: Any) -> Any:
        answer = super().answer_again(*arguments)
        self.taken += answer is not None
        self.unparsed += answer is not None
        return answer


async def directory(redis: Redis) -> None:
    partner = {"joined_at": 1, "email_hash": "", "changes": []}
    link = {"partner_id": "W-1", "product": "livechat", "campaign": "pp_späte & co", "landing_url": ""}
    landing = "https://www.livechat.com/pricing?plan=team&a=evil#faq"
    await redis.hset(redis_keys.PARTNERS, "W-1", json.dumps(partner))
    await redis.hset(redis_keys.PARTNERS, "S-1", json.dumps({**partner, "changes": [[2, "e", "suspended"]]}))
    await redis.hset(redis_keys.PARTNERS, "F-1", json.dumps({**partner, "joined_at": NOW_MS + 1}))
    await redis.hset(redis_keys.LINKS, "pTQxp", json.dumps(link))
    tagged = "https://partners.livechat.com?utm_source=own&utm_campaign=theirs"
    await redis.hset(redis_keys.LINKS, "deep", json.dumps({**link, "landing_url": landing}))
    await redis.hset(redis_keys.LINKS, "tagged", json.dumps({**link, "landing_url": tagged}))
    await redis.hset(redis_keys.LINKS, "plain", json.dumps({**link, "campaign": "pp_plain-1", "product": "gone"}))
    await redis.hset(redis_keys.LINKS, "odd", json.dumps({**link, "campaign": "\\t\t\n", "landing_url": "https://x/"}))
    await redis.hset(redis_keys.LINKS, "held", json.dumps({**link, "partner_id": "S-1"}))


@asynccontextmanager
async def server(
    url: str, spool: Path, protocol: Any, proxies: Sequence[str] = (), journal_url: str = ""
) -> AsyncIterator[tuple[int, App]]:
    """The app on a port of its own, with a clock that stands and chance that always says the same."""
    async with Redis.from_url(url, socket_timeout=None) as redis:
        await directory(redis)
        links, metrics = Links(redis, look_up_seconds=5.0), Metrics("1")
        journal = Journal(
            journal_url or url, Spool(spool), PROGRAM.window_ms, lambda: NOW_MS, metrics, click_seconds=5.0
        )
        await links.start()
        await journal.start()
        clients = Clients([ip_network(name) for name in proxies], "cf-ipcountry", open_countries(BUNDLED))
        chance = lambda size: b"\x55" * size  # noqa: E731 - always the same
        intake = ClickIntake(PROGRAM, SECRET, links, journal, metrics, lambda: NOW_MS, clients, chance)
        app = App(RedirectApp(intake), CountingLane(intake), metrics)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http=protocol, ws="none", lifespan="off", log_config=None, proxy_headers=False, server_header=False
        )
        running = uvicorn.Server(config)
        serving = asyncio.create_task(running.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1], app
        finally:
            running.should_exit = True
            await serving
            await journal.close()
            await links.close()


async def exchange(port: int, sent: bytes, answers: int) -> bytes:
    """What a connection answers to `sent`, until so many answers have come or it closes; without dates."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    received = b""
    try:
        async with asyncio.timeout(10):
            for _ in range(answers):
                received += await reader.readuntil(b"\r\n\r\n")
            if b"connection: close" in received:
                rest = await reader.read()
                assert not rest or received.startswith(b"HTTP/1.1 400"), "an answer without a body"
                received += rest
    except asyncio.IncompleteReadError as error:
        received += error.partial + b"<closed>"
    writer.close()
    return b"\r\n".join(line for line in received.split(b"\r\n") if not line.startswith(b"date:"))


async def rows(redis: Redis) -> list[bytes]:
    """All journaled rows and all touches."""
    found = []
    for shard in range(redis_keys.SHARDS):
        for _, fields in await redis.xrange(redis_keys.click_journal(shard)):
            found += fields[b"clicks"].splitlines()
    touches = await redis.keys("{c?}:touch:*")
    return sorted(found) + sorted([key + b" " + (await redis.get(key) or b"") for key in touches])


def get(target: str, *headers: str, agent: str | None = CHROME, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: go.example", *headers]
    if agent is not None:
        lines.append(f"User-Agent: {agent}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


USUAL = [
    get("/a/W-1"),
    get("/pTQxp"),
    get("/deep"),
    get("/tagged"),
    get("/tagged?utm_campaign=own&x=1"),
    get("/plain"),
    get("/plain?to=/pricing"),
    get("/plain/"),
    get("/odd"),
    get("/odd?utm_source=x"),
    get("/held"),
    get("/a/W-1/partner_program"),
    get("/a/W-1/nothing"),
    get("/a/S-1"),
    get("/a/W-1/"),
    get("/a/W-1", f"Cookie: lt_vid={VISITOR}"),
    get("/a/W-1", f"Cookie: x=1; lt_vid={VISITOR.upper()}; lt_vid={VISITOR}"),
    get("/a/W-1", "Cookie: lt_vid=00000000-0000-0000-0000-000000000000"),
    get("/a/W-1", f"Cookie: lt_vid={VISITOR};"),
    get("/a/W-1", "Cookie: lt_vid="),
    get("/a/W-1", "Referer: https://blog.example/p\tq?a=b\\c"),
    get("/a/W-1", "Referer: https://blog.example/" + "é" * 600),
    get("/a/W-1?gclid=1&utm_source=x&sub=a%20b&sub=c"),
    get("/a/W-1?a=evil&lt=evil&to=/pricing%3Fx=1"),
    get("/deep?to=https://partners.livechat.com/join%23here&utm_campaign=own"),
    get("/deep?to=https://evil.example/&x=%0d%0aset-cookie:y"),
    get("/a/W-1?" + "x" * 9000),
    get("/a/W-1?"),
    get('/a/W-1?q="quoted"|{}'),
    get("/a/W-1", agent="Googlebot/2.1 (+http://www.google.com/bot.html)"),
    get("/a/W-1", agent=None),
    get("/a/W-1", agent="Mozilla/5.0 tab\there back\\slash"),
    get("/a/W-1", agent="x" * 3000),
    get(
        "/a/W-1", "Accept-Language: pl", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "CF-IPCountry: PL"
    ),
    get("/a/W-1", "Forwarded: for=203.0.113.9;proto=https"),
    get("/a/W-1", "Connection: close"),
]
UNUSUAL = [
    get("/a/F-1"),
    get("/a/nobody"),
    get("/unknown"),
    get("/"),
    get("/a/" + "x" * 65),
    get("/a/W%2D1"),
    get("/pTQxp#fragment"),
    get("/pTQxp?x#fragment"),
    get("http://go.example/a/W-1?x=1"),
    get("/a/W-1", method="HEAD"),
    get("/a/W-1", method="DELETE"),
    get("/a/W-1", "Content-Length: 3") + b"abc",
    get("/a/W-1", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    get("/a/W-1", "Upgrade: websocket", "Connection: upgrade"),
    get("/a/W-1", "Sec-GPC: 1"),
    get("/a/W-1", "DNT: 1"),
    get("/a/W-1", "Cookie: lt_optout=1"),
    get("/a/W-1", "Sec-Purpose: prefetch;prerender"),
    get("/a/W-1", "X-Purpose: preview"),
    get("/a/W-1", "Cookie: a=b", f"Cookie: lt_vid={VISITOR}"),
    get("/a/W-1", "Referer: one", "Referer: two"),
    get("/a/W-1", version="1.0"),
]


ODD_HEADS = [
    get("/a/W-1", f"cookie: lt_vid={VISITOR}"),
    get("/a/W-1", f"COOKIE: lt_vid={VISITOR}", "referer:https://no.blank.example/"),
    get("/a/W-1", f"Cookie:  lt_vid={VISITOR}  "),
    get("/a/W-1", "Cookie: a\tb; x"),
    get("/a/W-1", "Cookie: "),
    get("/a/W-1", "Referer: "),
    get("/a/W-1", "Cookie: a=é"),
    get("/a/W-1", "Referer: https://x.example/ with blanks"),
    get("/a/W-1", "Cookie: a=b", "Cookie: c=d"),
    get("/a/W-1", "Cookie: lt_optout=1; a=b"),
    get("/a/W-1", "Cookie: a=b", "cookie: lt_optout=1"),
    get("/a/W-1 x"),
    get("/a/W-1?a b"),
    get("/a/W-1?a=é"),
    get("/a/W-1?to=/é"),
    b"GET /a/W-1 HTTP/1.1\r\nCookie: lt_vid=" + VISITOR.encode() + b"\r\nHost: go.example\r\n\r\n",
    b"GET /a/W-1 HTTP/1.1\r\nHost: go.example\r\nReferer: https://b.example/\r\nCookie: x=y\r\n\r\n",
    b"GET /a/W-1 HTTP/1.1\r\nHost: go.example\r\nCookie: x=y\r\nReferer: https://b.example/\r\n\r\n",
    b"GET  /a/W-1 HTTP/1.1\r\nHost: go.example\r\n\r\n",
    b"\r\nGET /a/W-1 HTTP/1.1\r\nHost: go.example\r\n\r\n",
    b"get /a/W-1 HTTP/1.1\r\nHost: go.example\r\n\r\n",
]
"""Heads that a hurried reader would take for another: each is answered as the parser reads it."""


QUERIES = [
    "&", "a", "lt", "to", "to=", "to=/", "to=/pricing", "to=/pricing&x=1", "to=//evil.example", "to=/%2e%2e/x%23y",
    "to=%2Fa%26b", "to=/a=b?c", "to=https://partners.livechat.com/join?x=1", "to=/\\evil", "to", "t%6f=/x", "tox=1",
    "x=1", "x", "x=1&", "&x=1", "x=1&&y=2", "x==1", "=1", "x=", "x=1&x=2", "x=1&a=2", "x=1&lt=2", "x=1&to=/y", "%61=e",
    "l%74=x", "+a=1", "ab=1", "a=", "aa", "A=1", "ltx=2", "utm_source", "utm_source=x", "utm_source&x", "utm_sourcex=1",
    "utm%5fsource=x", "utm_campaign", "x=1&utm_campaign=own", "utm_medium=cpc&gclid=1", "x=\\", "x='", 'x="', "x=a+b",
    "x=%", "x=%zz", "a.b~c-d:e=1", "a[]=1", "x=1;a=2", "x={}",
    "x=" + "y" * 8190, "x=" + "y" * 8191, "x=y" * 400,
    "\\=1", "x=1?y=2",
]  # fmt: skip
"""Queries that a hurried reader would take for another."""


async def both(
    empty_redis_url: str, tmp_path: Path, sent: Sequence[tuple[bytes, int]], proxies: Sequence[str] = ()
) -> tuple[list[bytes], list[bytes], int]:
    """Answers and rows, which both ways must agree on; and how many requests the fast lane took."""
    outcomes = []
    taken = 0
    for number, protocol in enumerate((BoundedHttpProtocol, FastProtocol)):
        url = f"{empty_redis_url}?db={number}"
        async with server(url, tmp_path / str(number), protocol, proxies) as (port, app), Redis.from_url(url) as redis:
            answers = [await exchange(port, request, count) for request, count in sent]
            outcomes.append(
                (answers, await rows(redis), app.metrics.render().split("# HELP lasttouch_journal_batch")[0])
            )
            taken = app.lane.taken
    ordinary, fast = outcomes
    for (request, _), one, other in zip(sent, ordinary[0], fast[0], strict=True):
        assert one == other, f"the two ways differ on {request!r}"
    assert ordinary[1:] == fast[1:]
    return ordinary[0], ordinary[1], taken


async def test_usual_requests_are_taken_and_answered_alike(empty_redis_url: str, tmp_path: Path) -> None:
    answers, kept, taken = await both(empty_redis_url, tmp_path, [(request, 1) for request in USUAL])
    assert taken == len(USUAL)
    assert all(answer.startswith(b"HTTP/1.1 302 Found\r\nlocation: https://") for answer in answers)
    assert len([row for row in kept if b"\tredirect\t" in row]) == len(USUAL)


async def test_unusual_requests_go_the_ordinary_way(empty_redis_url: str, tmp_path: Path) -> None:
    _, _, taken = await both(empty_redis_url, tmp_path, [(request, 1) for request in UNUSUAL])
    assert taken == 0


async def test_heads_that_were_seen_before_are_answered_alike(empty_redis_url: str, tmp_path: Path) -> None:
    """Whatever comes first, the same head comes again on a connection of its own, then with other cookies."""
    requests = [*USUAL, *UNUSUAL, *ODD_HEADS]
    random.Random(11).shuffle(requests)
    again = [(request, 1) for request in requests * 3]
    await both(empty_redis_url, tmp_path, again)
    async with server(empty_redis_url, tmp_path, FastProtocol) as (port, app):
        for request in [*USUAL, *USUAL]:
            await exchange(port, request, 1)
        assert app.lane.unparsed > len(USUAL)
        seen = app.lane.unparsed
        for request in UNUSUAL:
            await exchange(port, request, 1)
        assert app.lane.unparsed == seen


async def test_queries_of_known_heads_are_answered_alike(empty_redis_url: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    made = ["".join(chance.choices("alto=&%6+x_.", k=chance.randint(1, 12))) for _ in range(150)]
    targets = ("/a/W-1", "/deep", "/tagged", "/held")
    sent = [get(f"{target}?{query}") for query in QUERIES for target in targets]
    sent += [get(f"{chance.choice(targets)}?{query}") for query in made]
    # Twice the same in a row, for the second time a deep link is kept, and a third time, when it is known.
    answers, _, taken = await both(empty_redis_url, tmp_path, [(request, 1) for request in sent for _ in range(3)])
    assert taken == len(answers)


async def test_a_known_head_in_pieces_or_behind_a_body_is_parsed(empty_redis_url: str, tmp_path: Path) -> None:
    """A head is known again only where a request begins, and only when it came as a whole and alone."""
    usual, with_body = USUAL[0], get("/a/W-1", f"Content-Length: {len(USUAL[0])}") + USUAL[0]
    await both(empty_redis_url, tmp_path, [(usual, 1), (usual * 2, 2), (with_body, 1), (with_body + usual, 2)])
    async with server(empty_redis_url, tmp_path, FastProtocol) as (port, app):
        await exchange(port, usual, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for pieces in ([usual[:30], usual[30:]], [usual[:-2], usual[-2:]], [with_body[: -len(usual)], usual]):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await exchange(port, get("/health"), 1)  # so that the pieces are read one after another
            assert b"302" in await reader.readuntil(b"\r\n\r\n")
        assert app.lane.unparsed == 0
        writer.write(usual)
        assert b"302" in await reader.readuntil(b"\r\n\r\n")
        assert app.lane.unparsed == 1
        writer.close()


async def test_the_heads_of_a_flood_are_bounded(empty_redis_url: str, tmp_path: Path) -> None:
    async with server(empty_redis_url, tmp_path, FastProtocol) as (port, app):
        await exchange(port, get("/a/W-1", "X-Padding: " + "x" * REMEMBERED_HEAD_BYTES), 1)
        assert len(app.lane._heads) == 0
        heads = Heads[int](room=10)
        for number in range(100):
            heads.learn(get("/a/W-1", f"X-Number: {number}"), None, None, number)
        assert 10 <= len(heads) <= 20


async def test_behind_a_trusted_proxy(empty_redis_url: str, tmp_path: Path) -> None:
    two_lines = get("/a/W-1", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 77.88.8.8, 127.0.0.2")
    sent = [(request, 1) for request in (*USUAL, two_lines)]
    answers, kept, taken = await both(empty_redis_url, tmp_path, sent, ["127.0.0.0/8"])
    assert taken == len(sent)
    assert sum(b"; Secure" in answer for answer in answers) == 2
    for network, country in ((b"203.0.113.0/24", b"PL"), (b"77.88.8.0/24", b"RU")):
        assert any(network in row and b"\t%b\t" % country in row for row in kept)
    assert not any(b"6.6.6" in row for row in kept)


@pytest.mark.parametrize("redis_is_there", [True, False], ids=["journal", "spool"])
async def test_no_address_is_kept_whole(empty_redis_url: str, tmp_path: Path, redis_is_there: bool) -> None:
    """Neither way keeps more of an address than its network, wherever the click goes."""
    journal_url = "" if redis_is_there else f"unix://{tmp_path}/no.sock"
    addresses = ("198.51.77.123", "2001:db8:77:1234:5678:9abc:def0:1234", "2002:c633:4d7b::1")
    async with server(empty_redis_url, tmp_path / "spool", FastProtocol, ["127.0.0.0/8"], journal_url) as (port, app):
        for address in addresses:
            for header in (f"X-Forwarded-For: {address}", f'Forwarded: for="[{address}]:80"'):
                await exchange(port, get("/a/W-1", header), 1)
                await exchange(port, get("/a/W-1", header, "DNT: 1"), 1)
        assert app.lane.taken == 2 * len(addresses)
    async with Redis.from_url(empty_redis_url) as redis:
        kept = b"".join(await rows(redis)) if redis_is_there else b""
    kept += b"".join(file.read_bytes() for file in (tmp_path / "spool").rglob("*") if file.is_file())
    assert kept.count(b"198.51.77.0/24") == 8 and kept.count(b"2001:db8:77::/48") == 4
    assert not any(part in kept for part in (b"198.51.77.123", b"5678", b"c633", b"4d7b"))


async def test_requests_on_one_connection_are_answered_in_order(empty_redis_url: str, tmp_path: Path) -> None:
    """Pipelined: the lane's and the ordinary ones mixed, more than one read holds."""
    quiet = [request for request in USUAL + UNUSUAL if b"lose" not in request and b"HTTP/1.1" in request]
    quiet = [request for request in quiet if b"pgrade" not in request]
    shuffled = random.Random(7)
    trains = [shuffled.choices(quiet, k=length) for length in (2, 3, 5, 8, 40)]
    trains += [list(pair) for pair in itertools.permutations((USUAL[0], UNUSUAL[1], UNUSUAL[9]))]
    await both(empty_redis_url, tmp_path, [(b"".join(train), len(train)) for train in trains])


async def test_a_visitor_who_hangs_up_leaves_a_click_and_no_trace(empty_redis_url: str, tmp_path: Path) -> None:
    async with (
        server(empty_redis_url, tmp_path, FastProtocol) as (port, app),
        Redis.from_url(empty_redis_url) as redis,
    ):
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(USUAL[0])
            await writer.drain()
            writer.transport.abort()
        async with asyncio.timeout(10):
            while not app.lane.taken or app.lane.taken != sum(b"\tredirect\t" in row for row in await rows(redis)):
                continue
        assert b"x-lasttouch: counted" in await exchange(port, USUAL[0], 1)


async def test_long_paths_and_browsers_are_not_remembered(empty_redis_url: str, tmp_path: Path) -> None:
    """Whoever invents them could fill a worker's memory."""
    async with server(empty_redis_url, tmp_path, FastProtocol) as (port, app):
        for length in (600, 30_000):
            assert b"counted" in await exchange(port, get("/a/W-1" + "/" * length), 1)
            assert b"counted" in await exchange(port, get("/a/W-1", agent=CHROME + "x" * length), 1)
        kept = [*app.lane._paths.keys(), *app.lane._browsers.keys()]
        assert kept and max(map(len, kept)) <= REMEMBERED_BYTES


async def test_a_flood_of_browsers_does_not_push_out_the_usual_ones(
    empty_redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_lane, "REMEMBERED_BROWSERS", 20)
    read: list[str] = []

    def reading(text: str) -> Browser:
        read.append(text)
        return read_browser(text)

    monkeypatch.setattr(fast_lane, "read_browser", reading)
    async with server(empty_redis_url, tmp_path, FastProtocol) as (port, app):
        for number in range(100):
            for agent in (f"flood/{number}", CHROME):
                await exchange(port, get("/a/W-1", agent=agent), 1)
        assert read.count(CHROME) == 1 and len(read) == 101
        assert len(app.lane._browsers.keys()) <= 40


async def test_a_changed_entry_changes_its_own_answers_only(empty_redis_url: str, tmp_path: Path) -> None:
    async with (
        server(empty_redis_url, tmp_path, FastProtocol) as (port, app),
        Redis.from_url(empty_redis_url) as redis,
    ):

        async def write(kind: str, hash_key: str, key: str, entry: dict[str, Any]) -> None:
            await redis.hset(hash_key, key, json.dumps(entry))
            await redis.xadd(redis_keys.CHANGES, {"kind": kind, "key": key})

        async def until_it_says(target: str, expected: bytes) -> None:
            async with asyncio.timeout(10):
                while expected not in await exchange(port, get(target), 1):
                    continue

        targets = ("/pTQxp", "/pTQxp/", "/pTQxp?to=/pricing", "/deep", "/a/W-1", "/a/S-1")
        for target in [*targets, *targets]:
            await exchange(port, get(target), 1)
        assert set(app.lane._paths.keys()) == {target.encode() for target in targets}
        moved = {"partner_id": "W-1", "product": "livechat", "campaign": "pp_moved", "landing_url": ""}
        await write("link", redis_keys.LINKS, "pTQxp", moved)
        for target in ("/pTQxp", "/pTQxp/", "/pTQxp?to=/pricing"):
            await until_it_says(target, b"utm_campaign=pp_moved")
        await write("partner", redis_keys.PARTNERS, "S-1", {"joined_at": 1, "changes": []})
        await until_it_says("/a/S-1", b"x-lasttouch: counted")
        deep = app.lane._paths.get(b"/deep")
        assert deep is not None
        await write("partner", redis_keys.PARTNERS, "W-1", {"joined_at": 1, "changes": [[2, "e", "suspended"]]})
        for target in ("/pTQxp", "/pTQxp?to=/pricing", "/deep", "/a/W-1"):
            await until_it_says(target, b"x-lasttouch: suspended-partner")


async def test_a_click_that_nobody_keeps_is_not_called_counted(empty_redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the spool folder")
    nowhere = f"unix://{tmp_path}/no.sock"
    for protocol in (BoundedHttpProtocol, FastProtocol):
        parts = (empty_redis_url, tmp_path / "file" / "spool", protocol)
        async with server(*parts, journal_url=nowhere) as (port, _):
            answer = await exchange(port, USUAL[0], 1)
        assert b"x-lasttouch: not-recorded\r\n" in answer and answer.startswith(b"HTTP/1.1 302")
