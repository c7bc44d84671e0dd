"""The redirect: where it leads, what it says, and what is kept; the decision alone, and the app on a real Redis."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from redis.asyncio import Redis

from tracker import redis_keys
from tracker.click_intake import ClickIntake
from tracker.client_address import Client, Clients
from tracker.countries import BUNDLED, open_countries
from tracker.events import CLICK_COLUMNS
from tracker.ids import is_uuid
from tracker.journal import Journal
from tracker.landing import MAX_QUERY, read_landing, read_query
from tracker.links import Links
from tracker.metrics import Metrics
from tracker.program import Product, Program
from tracker.redirect import Decision, Fresh, RedirectApp, Target, View, decide
from tracker.spool import Spool, spooled_count
from tracker.standing import Change, Standing
from tracker.visitors import cookie_visitor, read_stamp

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
SECRET = b"a secret of the program"
PROGRAM = Program()
LIVECHAT = PROGRAM.products["livechat"]
PARTNERS_SITE = PROGRAM.products["partner_program"]
PARTNER = "W-5ZzZyiR"
VISITOR = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
NOW_MS = time.time_ns() // 1_000_000
FRESH = Fresh(NOW_MS, "0190b5a4-7c3e-7d2a-9f00-0123456789ab", VISITOR)
ACTIVE = Standing(PARTNER, NOW_MS, "")
SUSPENDED = Standing(PARTNER, 0, "", (Change(NOW_MS, "e", "suspended"),))
NOT_YET = Standing(PARTNER, NOW_MS + 1, "")
DIRECT = Target(PARTNER, ACTIVE, LIVECHAT)


def decided(
    target: Target = DIRECT, query: str = "", method: str = "GET", https: bool = False, **more: str
) -> Decision:
    """The decision on a request with these headers (`_` for `-`)."""
    headers = {"user-agent": CHROME, **{name.replace("_", "-"): value for name, value in more.items()}}
    view = View(method, query, headers, Client("203.0.113.0/24", https, "PL"))
    return decide(view, target, PROGRAM, SECRET, FRESH)


def unstamped(decision: Decision) -> str:
    """The location without its stamp, which must be there, the last of the query and this visitor's."""
    before, _, stamp = decision.location.partition("&lt=")
    stamp, hash_sign, fragment = stamp.partition("#")
    assert read_stamp(SECRET, stamp, NOW_MS) == VISITOR
    return f"{before}{hash_sign}{fragment}"


def campaign(landing_url: str = "", slug: str = "pp_spring", product: Product = LIVECHAT) -> Target:
    return Target(PARTNER, ACTIVE, product, slug, landing_url, is_link=True)


A = f"a={PARTNER}"
PP = f"utm_source=PP&{A}"


@pytest.mark.parametrize(
    ("target", "query", "location"),
    [
        (DIRECT, "", f"https://www.livechat.com/?{PP}"),
        (Target(PARTNER, ACTIVE, PARTNERS_SITE), "", f"https://partners.livechat.com/?{PP}"),
        (campaign(), "", f"https://www.livechat.com/?utm_source=PP&utm_campaign=pp_spring&{A}"),
        (
            campaign("https://www.livechat.com/pricing/?plan=team&x=1#faq"),
            "gclid=G&sub=1&sub=2",
            f"https://www.livechat.com/pricing/?plan=team&x=1&gclid=G&sub=1&sub=2"
            f"&utm_source=PP&utm_campaign=pp_spring&{A}#faq",
        ),
        (campaign(), "utm_source=news&utm_campaign=june", f"https://www.livechat.com/?utm_source=news&utm_campaign=june&{A}"),
        (
            campaign("https://www.livechat.com/?utm_source=own"),
            "utm_medium=mail",
            f"https://www.livechat.com/?utm_source=own&utm_medium=mail&utm_campaign=pp_spring&{A}",
        ),
        (DIRECT, "utm%5Fsource=x", f"https://www.livechat.com/?utm%5Fsource=x&{A}"),
        (DIRECT, "a=evil&lt=forged&%61=evil&l%74=forged&x=1", f"https://www.livechat.com/?x=1&{PP}"),
        (campaign("https://www.livechat.com/?a=evil&lt=old&b=2", ""), "", f"https://www.livechat.com/?b=2&{PP}"),
        (DIRECT, "q=a%20b+c%2Bd&e=%C3%A9&flag&=empty", f"https://www.livechat.com/?q=a%20b+c%2Bd&e=%C3%A9&flag&=empty&{PP}"),
        (DIRECT, "&&x=1&", f"https://www.livechat.com/?x=1&{PP}"),
        (campaign(slug="pp_é&a=b"), "", f"https://www.livechat.com/?utm_source=PP&utm_campaign=pp_%C3%A9%26a%3Db&{A}"),
        (campaign("https://evil.example/"), "", f"https://www.livechat.com/?utm_source=PP&utm_campaign=pp_spring&{A}"),
        (DIRECT, f"x={'y' * MAX_QUERY}", f"https://www.livechat.com/?{PP}"),
    ],
)  # fmt: skip
def test_the_query_is_the_landings_then_the_requests_then_ours(target: Target, query: str, location: str) -> None:
    assert unstamped(decided(target, query)) == location


@pytest.mark.parametrize(
    ("to", "landing"),
    [
        ("/pricing", "https://www.livechat.com/pricing?"),
        ("%2Fpricing%3Fplan%3Dteam%23faq", "https://www.livechat.com/pricing?plan=team&"),
        ("/", "https://www.livechat.com/?"),
        ("?", "https://www.livechat.com/?"),
        ("/a/../b//c", "https://www.livechat.com/a/../b//c?"),
        ("/50%25off", "https://www.livechat.com/50%25off?"),
        ("/caf%C3%A9%20bar", "https://www.livechat.com/caf%C3%A9%20bar?"),
        ("/@evil.example", "https://www.livechat.com/@evil.example?"),
        ("https://partners.livechat.com/join", "https://partners.livechat.com/join?"),
        ("https%3A%2F%2Flivechat.com%2Fx", "https://livechat.com/x?"),
        ("HTTPS://WWW.LiveChat.com/x", "https://www.livechat.com/x?"),
        ("http://www.livechat.com", "http://www.livechat.com/?"),
        ("https://www.livechat.com:443/x", "https://www.livechat.com:443/x?"),
        ("/x?a=evil%26lt=evil%26b=1", "https://www.livechat.com/x?b=1&"),
    ],
)
def test_to_leads_anywhere_on_the_program(to: str, landing: str) -> None:
    assert decided(query=f"to={to}").location.startswith(f"{landing}utm_source=PP&{A}")


HOSTILE = (
    "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "https:evil.example", "https:/evil.example", "https:///evil.example", "https:\\\\evil.example", "https://", "http:",
    "https://www.livechat.com@evil.example/", "https://evil.example@www.livechat.com/", "https://user:pw@www.livechat.com/",
    "https://www.livechat.com.evil.example/", "https://wwwXlivechat.com/", "https://evil.example/?https://www.livechat.com/",
    "https://evil.example#@www.livechat.com/", "https://evil.example\\@www.livechat.com/", "https://www.livechat.com:8443/",
    "https://www.livechat.com\\.evil.example/", "https://evil.example%23www.livechat.com", "https://www.livechat.com./",
    "https://www.livechat.com%2eevil.example/", "https://www。livechat。com/", "https://ⓦww.livechat.com/", "https://[::1/",
    "https://www.livechat.com%00.evil.example/", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x",
    "ftp://www.livechat.com/", "java\nscript:alert(1)", "/\tevil", "/\t/evil.example", "/\r\nSet-Cookie: x=1",
    "/\n/evil.example", "\t//evil.example",
    "/\x00", "/\x7f", "evil.example", "pricing", "https://evil\u2215.example/",
    "https://evil.example/\r\nLocation: https://evil.example",
)  # fmt: skip


@pytest.mark.parametrize("to", HOSTILE)
def test_hostile_to_is_ignored_and_the_home_page_is_used(to: str) -> None:
    encoded = "to=" + "".join(f"%{byte:02x}" for byte in to.encode())
    as_typed = read_query(f"to={to}".encode()) if "&" not in to else encoded
    for target in (DIRECT, campaign("https://www.livechat.com/pricing")):
        for query in (encoded, as_typed):
            location = decided(target, query).location
            parts = urlsplit(location)
            assert (parts.scheme, parts.netloc, parts.path) == ("https", "www.livechat.com", "/"), location
            assert location.isascii() and location.isprintable()
            assert "evil" not in location


def test_the_first_to_counts_and_none_is_passed_on() -> None:
    location = decided(query="to=/one&x=1&to=//evil.example&%74o=/two").location
    assert location.startswith(f"https://www.livechat.com/one?x=1&{PP}")


def test_landings_are_only_ever_on_hosts_of_the_program() -> None:
    hosts = frozenset({"www.livechat.com", "shop.localhost:8080"})
    assert read_landing("http://shop.localhost:8080/x", hosts) is not None
    assert read_landing("http://shop.localhost/x", hosts) is None
    assert read_landing("http://www.livechat.com:80/", hosts) is not None
    assert read_landing("http://www.livechat.com:443/", hosts) is None


SUSPENDED_TARGET = Target(PARTNER, SUSPENDED, LIVECHAT)
UNKNOWN_LINK = Target(None, None, LIVECHAT, is_link=True)
UNKNOWN_PARTNER = Target("X-unknown", None, PARTNERS_SITE)
MALFORMED_PARTNER = Target(None, None, LIVECHAT)
BOT = {"user_agent": "curl/8.6.0"}
PREFETCH = {"sec_purpose": "prefetch"}
OUT = {"sec_gpc": "1"}


@pytest.mark.parametrize(
    ("target", "method", "headers", "result", "verdict"),
    [
        (DIRECT, "GET", {}, "counted", "human"),
        (DIRECT, "HEAD", {}, "head", "head"),
        (DIRECT, "GET", PREFETCH, "prefetch", "prefetch"),
        (DIRECT, "GET", BOT, "bot", "bot"),
        (DIRECT, "GET", OUT, "opted-out", "opted-out"),
        (SUSPENDED_TARGET, "GET", {}, "suspended-partner", "human"),
        (SUSPENDED_TARGET, "GET", OUT, "opted-out", "opted-out"),
        (SUSPENDED_TARGET, "GET", {**OUT, **BOT}, "bot", "bot"),
        (SUSPENDED_TARGET, "GET", {**OUT, **BOT, **PREFETCH}, "prefetch", "prefetch"),
        (SUSPENDED_TARGET, "HEAD", {**OUT, **BOT, **PREFETCH}, "head", "head"),
        (UNKNOWN_PARTNER, "GET", {}, "unknown-partner", "human"),
        (UNKNOWN_PARTNER, "HEAD", BOT, "unknown-partner", "head"),
        (Target(PARTNER, NOT_YET, LIVECHAT), "GET", {}, "unknown-partner", "human"),
        (MALFORMED_PARTNER, "GET", {}, "unknown-partner", None),
        (UNKNOWN_LINK, "GET", {}, "unknown-link", None),
        (UNKNOWN_LINK, "HEAD", {**OUT, **BOT}, "unknown-link", None),
    ],
)
def test_what_it_says_and_what_is_kept(
    target: Target, method: str, headers: dict[str, str], result: str, verdict: str | None
) -> None:
    decision = decided(target, "lt=forged", method, False, **headers)
    assert decision.result == result
    assert (decision.click and decision.click.verdict) == verdict
    is_known = not result.startswith("unknown")
    is_out = bool(headers.get("sec_gpc"))
    query = dict(parse_qsl(urlsplit(decision.location).query))
    assert (query.get("a") == PARTNER) is is_known
    assert ("lt" in query) is (is_known and not is_out)
    assert (decision.cookie is not None) is (is_known and not is_out)
    if decision.click is not None:
        assert decision.click.visitor_id == (None if is_out else VISITOR)
    if not is_known:
        assert decision.location == target.product.url


def test_an_unknown_partners_visitor_still_gets_their_parameters() -> None:
    decision = decided(UNKNOWN_PARTNER, "gclid=1&a=x&lt=y&to=/pricing")
    assert decision.location == "https://partners.livechat.com/?gclid=1"


def test_a_click_says_all_that_is_known_of_it() -> None:
    decision = decided(
        campaign(product=PARTNERS_SITE), f"sub=1&a=x&to=/join&note={'n' * 2000}", https=True,
        cookie=f"x=1; lt_vid={OTHER}", referer="https://blog.example/" + "r" * 1000,
    )  # fmt: skip
    click = decision.click
    assert click is not None
    assert (click.click_id, click.clicked_at, click.visitor_id) == (FRESH.click_id, NOW_MS, OTHER)
    assert (click.partner_id, click.product, click.campaign) == (PARTNER, "partner_program", "pp_spring")
    assert (click.source, click.country, click.ip_prefix) == ("redirect", "PL", "203.0.113.0/24")
    assert (click.device, click.browser, click.os, click.user_agent) == ("desktop", "Chrome", "Windows", CHROME)
    assert click.referrer.startswith("https://blog.example/") and len(click.referrer) == 512
    assert click.landing_query.startswith("sub=1&note=nn") and len(click.landing_query) == 1024
    assert decision.cookie == f"lt_vid={OTHER}; Max-Age=10368000; Path=/; HttpOnly; SameSite=Lax; Secure"


Answer = tuple[int, dict[str, str]]


async def get(
    app: RedirectApp, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", **scope: Any
) -> Answer:
    """A request to the ASGI app, `path` with its query: status and headers."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = {"user-agent": CHROME, **(headers or {})}.items()
    raw_path, _, query = path.partition("?")
    request = {
        "type": "http", "method": method, "path": raw_path, "query_string": query.encode("latin-1"), "scheme": "http",
        "client": ("198.51.100.7", 5), "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
    }  # fmt: skip
    await app({**request, **scope}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b""
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@asynccontextmanager
async def app_on(
    url: str, spool: Path, secret: bytes = SECRET, click_seconds: float = 5.0, **options: Any
) -> AsyncIterator[tuple[RedirectApp, Redis]]:
    """The app on Redis with one partner, who has a short link to each product, and one who is suspended."""
    link = {"partner_id": PARTNER, "product": "livechat", "campaign": "pp_spring", "landing_url": ""}
    partner = {"joined_at": 1, "email_hash": "", "changes": []}
    async with Redis.from_url(url, socket_timeout=None) as redis:
        await redis.hset(redis_keys.LINKS, "pTQxp", json.dumps(link))
        await redis.hset(redis_keys.LINKS, "stale", json.dumps({**link, "product": "gone", "partner_id": "S-1"}))
        await redis.hset(redis_keys.PARTNERS, PARTNER, json.dumps(partner))
        await redis.hset(redis_keys.PARTNERS, "S-1", json.dumps({**partner, "changes": [[2, "e", "suspended"]]}))
        links, metrics = Links(redis, look_up_seconds=5.0), Metrics("1")
        journal = Journal(url, Spool(spool), PROGRAM.window_ms, now_ms, metrics, click_seconds)
        await links.start()
        await journal.start()
        app = RedirectApp(ClickIntake(PROGRAM, secret, links, journal, metrics, now_ms, **options))
        try:
            yield app, redis
        finally:
            await journal.close()
            await links.close()


def now_ms() -> int:
    return NOW_MS


async def clicks(redis: Redis) -> list[dict[str, str]]:
    """Every journaled click, by column."""
    found = []
    for shard in range(redis_keys.SHARDS):
        for _, fields in await redis.xrange(redis_keys.click_journal(shard)):  # type: ignore[union-attr]
            lines = fields[b"clicks"].decode().splitlines()  # type: ignore[index, union-attr]
            found += [dict(zip(CLICK_COLUMNS, line.split("\t"), strict=True)) for line in lines]
    return sorted(found, key=lambda row: row["click_id"])


@pytest.mark.anyio
async def test_a_short_link_through_the_app(empty_redis_url: str, tmp_path: Path) -> None:
    async with app_on(empty_redis_url, tmp_path) as (app, redis):
        status, headers = await get(app, "/pTQxp?sub=7")
        assert (status, headers["x-lasttouch"], headers["cache-control"]) == (302, "counted", "no-store")
        query = dict(parse_qsl(urlsplit(headers["location"]).query))
        visitor_id = cookie_visitor(headers["set-cookie"].partition(";")[0])
        assert visitor_id is not None and is_uuid(visitor_id)
        assert read_stamp(SECRET, query.pop("lt"), NOW_MS) == visitor_id
        assert query == {"sub": "7", "utm_source": "PP", "utm_campaign": "pp_spring", "a": PARTNER}
        (click,) = await clicks(redis)
        assert click["visitor_id"] == visitor_id
        assert (click["verdict"], click["landing_query"], click["ip_prefix"]) == ("human", "sub=7", "198.51.100.0/24")
        assert await redis.get(redis_keys.touches(visitor_id))
        _, again = await get(app, "/pTQxp/", {"Cookie": f"lt_vid={visitor_id}"})
        assert again["set-cookie"].startswith(f"lt_vid={visitor_id};")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "result", "home", "journaled"),
    [
        (f"/a/{PARTNER}", "counted", "https://www.livechat.com/", 1),
        (f"/a/{PARTNER}/", "counted", "https://www.livechat.com/", 1),
        (f"/a/{PARTNER}/partner_program", "counted", "https://partners.livechat.com/", 1),
        (f"/a/{PARTNER}/nonsense", "counted", "https://www.livechat.com/", 1),
        ("/a/S-1", "suspended-partner", "https://www.livechat.com/", 1),
        ("/stale", "suspended-partner", "https://www.livechat.com/", 1),
        ("/a/Nobody", "unknown-partner", "https://www.livechat.com/", 1),
        ("/a/Nobody/partner_program", "unknown-partner", "https://partners.livechat.com/", 1),
        ("/a/<script>", "unknown-partner", "https://www.livechat.com/", 0),
        (f"/a/{'x' * 65}", "unknown-partner", "https://www.livechat.com/", 0),
        ("/a/", "unknown-link", "https://www.livechat.com/", 0),
        (f"/a/{PARTNER}/livechat/more", "unknown-link", "https://www.livechat.com/", 0),
        ("/nobody", "unknown-link", "https://www.livechat.com/", 0),
        ("/", "unknown-link", "https://www.livechat.com/", 0),
        ("/x/y/z", "unknown-link", "https://www.livechat.com/", 0),
        ("/\x00é\n", "unknown-link", "https://www.livechat.com/", 0),
    ],
)
async def test_paths(empty_redis_url: str, tmp_path: Path, path: str, result: str, home: str, journaled: int) -> None:
    async with app_on(empty_redis_url, tmp_path) as (app, redis):
        status, headers = await get(app, path)
        assert (status, headers["x-lasttouch"]) == (302, result)
        assert headers["location"].partition("?")[0] == home
        assert len(await clicks(redis)) == journaled
        if result.startswith("unknown"):
            assert headers["location"] == home
            assert "set-cookie" not in headers


@pytest.mark.anyio
async def test_a_link_made_a_moment_ago_is_found_before_anyone_announced_it(
    empty_redis_url: str, tmp_path: Path
) -> None:
    async with app_on(empty_redis_url, tmp_path) as (app, redis):
        link = {"partner_id": "N-1", "product": "livechat", "campaign": "", "landing_url": ""}
        await redis.hset(redis_keys.LINKS, "fresh", json.dumps(link))
        await redis.hset(redis_keys.PARTNERS, "N-1", json.dumps({"joined_at": 1, "changes": []}))
        assert (await get(app, "/fresh"))[1]["x-lasttouch"] == "counted"


@pytest.mark.anyio
async def test_while_redis_takes_no_writes_visitors_are_redirected_and_clicks_kept(
    empty_redis_url: str, tmp_path: Path
) -> None:
    async with app_on(empty_redis_url, tmp_path, click_seconds=1.0) as (app, redis):
        await redis.client_pause(60_000, all=False)
        try:
            assert (await get(app, "/pTQxp"))[1]["x-lasttouch"] == "counted"
            assert (await get(app, "/nobody"))[1]["x-lasttouch"] == "unknown-link"
            assert spooled_count(tmp_path) == 1
        finally:
            await redis.client_unpause()


@pytest.mark.anyio
async def test_when_the_disk_refuses_too_the_answer_says_so(empty_redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the spool folder")
    async with app_on(empty_redis_url, tmp_path / "file" / "spool", click_seconds=0.1) as (app, redis):
        await redis.client_pause(60_000, all=False)
        try:
            status, headers = await get(app, "/pTQxp")
            assert (status, headers["x-lasttouch"]) == (302, "not-recorded")
            assert headers["location"].startswith("https://www.livechat.com/?")
            assert (await get(app, "/pTQxp", method="HEAD"))[1]["x-lasttouch"] == "head"
        finally:
            await redis.client_unpause()


@pytest.mark.anyio
async def test_whatever_goes_wrong_the_visitor_arrives(empty_redis_url: str, tmp_path: Path) -> None:
    async with app_on(empty_redis_url, tmp_path, secret=None) as (app, _):  # type: ignore[arg-type]
        status, headers = await get(app, "/pTQxp")
        assert (status, headers["location"], headers["x-lasttouch"]) == (302, LIVECHAT.url, "not-recorded")
        assert app._in.metrics.redirect_errors.value() == 1
        assert 'lasttouch_redirect_errors_total{worker="1"} 1' in app._in.metrics.render()


@pytest.mark.anyio
async def test_other_methods_are_refused(empty_redis_url: str, tmp_path: Path) -> None:
    async with app_on(empty_redis_url, tmp_path) as (app, redis):
        status, headers = await get(app, "/pTQxp", method="POST")
        assert (status, headers["allow"]) == (405, "GET, HEAD")
        assert (await get(app, "/pTQxp", method="HEAD"))[1]["x-lasttouch"] == "head"
        assert [click["verdict"] for click in await clicks(redis)] == ["head"]


@pytest.mark.anyio
async def test_bytes_that_are_no_text_are_passed_on_encoded(empty_redis_url: str, tmp_path: Path) -> None:
    async with app_on(empty_redis_url, tmp_path) as (app, _):
        _, headers = await get(app, "/pTQxp?x=\xff\xfe#y&z= \r\n", {"User-Agent": CHROME})
        assert headers["location"].startswith("https://www.livechat.com/?x=%FF%FE%23y&z=%20%0D%0A&utm_source=PP")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("peer", "headers", "ip_prefix", "country", "is_secure"),
    [
        ("8.8.8.8", {"X-Forwarded-For": "203.0.113.9", "CF-IPCountry": "PL"}, "8.8.8.0/24", "US", False),
        ("10.0.0.1", {"X-Forwarded-For": "212.77.98.9", "X-Forwarded-Proto": "https"}, "212.77.98.0/24", "PL", True),
        ("10.0.0.1", {"Forwarded": 'for="[2a01:4f8::1]:4711";proto=https'}, "2a01:4f8::/48", "DE", True),
        ("10.0.0.1", {"X-Forwarded-For": "212.77.98.9", "CF-IPCountry": "FR"}, "212.77.98.0/24", "FR", False),
        ("127.0.0.1", {}, "127.0.0.0/24", "", False),
        (None, {"X-Forwarded-For": "1.2.3.4"}, "", "", False),
    ],
)  # fmt: skip
async def test_a_click_is_kept_with_the_visitors_network_and_country(
    empty_redis_url: str,
    tmp_path: Path,
    peer: str | None,
    headers: dict[str, str],
    ip_prefix: str,
    country: str,
    is_secure: bool,
) -> None:
    clients = Clients([ip_network("10.0.0.0/8")], "cf-ipcountry", open_countries(BUNDLED))
    async with app_on(empty_redis_url, tmp_path, clients=clients) as (app, redis):
        _, answer = await get(app, "/pTQxp", headers, client=(peer, 1) if peer else None)
        (click,) = await clicks(redis)
        assert (click["ip_prefix"], click["country"]) == (ip_prefix, country)
        assert answer["set-cookie"].endswith("; Secure") is is_secure
