"""The redirect as the contract has it: where it leads, what it says, what it never does."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.harness import Answer, Journey, Server, Visitor, poll

PROGRAM_HOSTS = {"www.livechat.com", "livechat.com", "partners.livechat.com"}
HOMES = {"livechat": "https://www.livechat.com/", "partner_program": "https://partners.livechat.com/"}


@pytest.fixture(scope="module")
def partner(server: Server) -> str:
    """A partner for all redirects of this module."""
    told = Journey(server)
    told.join("P")
    return told.id("P")


@pytest.fixture(scope="module")
def short(server: Server) -> dict[str, str]:
    """Product → path of a partner's short link."""
    links = Journey(server).join("S")["links"]
    return {product: urlsplit(link["short_url"]).path for product, link in links.items()}


def landing(answer: Answer) -> str:
    """Where a redirect leads, without its query."""
    parts = urlsplit(answer.location)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def test_a_direct_link(server: Server, partner: str) -> None:
    visitor = Visitor(server)
    answer = visitor.click(partner)
    assert landing(answer) == HOMES["livechat"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.query["a"] == partner and answer.query["utm_source"] == "PP" and answer.query["lt"]
    (cookie,) = answer.headers.get_all("Set-Cookie") or []
    assert cookie == f"lt_vid={visitor.id}; Max-Age=10368000; Path=/; HttpOnly; SameSite=Lax"
    assert str(uuid.UUID(visitor.id)) == visitor.id


def test_a_visitor_is_known_again(server: Server, partner: str) -> None:
    visitor = Visitor(server)
    visitor.click(partner)
    first = visitor.id
    visitor.click(partner, "partner_program")
    assert visitor.id == first


@pytest.mark.parametrize("cookie", ["", "x", "../../etc", "00000000-0000-0000-0000-000000000000", "A" * 3000])
def test_a_broken_cookie_is_replaced(server: Server, partner: str, cookie: str) -> None:
    visitor = Visitor(server, cookies={"lt_vid": cookie})
    visitor.click(partner)
    assert str(uuid.UUID(visitor.id)) == visitor.id != cookie


@pytest.mark.parametrize("product", HOMES)
def test_products(server: Server, partner: str, short: dict[str, str], product: str) -> None:
    assert landing(Visitor(server).click(partner, product)) == HOMES[product]
    answer = Visitor(server).get(short[product])
    assert (landing(answer), answer.said) == (HOMES[product], "counted")


def test_short_links_stamp_their_partner(server: Server, short: dict[str, str]) -> None:
    answer = Visitor(server).get(short["livechat"] + "?a=someone&lt=forged&sub=7")
    assert answer.query["a"].startswith("S.") and answer.query["lt"] != "forged" and answer.query["sub"] == "7"
    assert [name for name, _ in parse_qsl(urlsplit(answer.location).query)].count("a") == 1


def test_parameters_pass_through(server: Server, partner: str) -> None:
    target = f"/a/{partner}?gclid=x%20y&sub=1&sub=2&utm_source=mine&utm_medium=%C3%A9&empty=&to=%2Fpricing"
    answer = Visitor(server).get(target)
    assert landing(answer) == "https://www.livechat.com/pricing"
    pairs = parse_qsl(urlsplit(answer.location).query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    assert [value for name, value in pairs if name == "sub"] == ["1", "2"]
    assert ("gclid", "x y") in pairs and ("utm_medium", "é") in pairs and ("empty", "") in pairs
    assert [value for name, value in pairs if name == "utm_source"] == ["mine"]
    assert "to" not in names and names.count("a") == names.count("lt") == 1


def test_the_landing_pages_own_query_comes_first(server: Server, partner: str) -> None:
    answer = Visitor(server).get(f"/a/{partner}?to={quote('/pricing?plan=team&utm_source=page#faq', safe='')}&sub=1")
    pairs = parse_qsl(urlsplit(answer.location).query)
    assert pairs[0] == ("plan", "team") and ("sub", "1") in pairs
    assert "PP" not in [value for name, value in pairs if name == "utm_source"]
    assert urlsplit(answer.location).fragment in ("", "faq")


GOOD_TO = {
    "/pricing": "https://www.livechat.com/pricing",
    "https://livechat.com/x": "https://livechat.com/x",
    "https://partners.livechat.com/join": "https://partners.livechat.com/join",
}
HOSTILE_TO = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "/\t/evil.example",
    "/%09/evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:\\\\evil.example",
    "https://www.livechat.com@evil.example/",
    "https://www.livechat.com:pw@evil.example/",
    "https://evil.example\\@www.livechat.com/",
    "https://evil.example#@www.livechat.com/",
    "https://evil.example?www.livechat.com",
    "https://www.livechat.com.evil.example/",
    "https://www.livechat.com%2eevil.example/",
    "https://evil.example%23@www.livechat.com/",
    "https://www.livechat.com:8443/",
    "http://[::1]/",
    "https://[www.livechat.com",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,hi",
    "ftp://www.livechat.com/",
    " https://evil.example/",
    "\x01https://evil.example/",
    "/\r\nLocation: https://evil.example/",
    "/x\r\nSet-Cookie: lt_vid=1",
    "https://www.livechat.com\r\nX: y/",
    "https://ⓔvil.example/",
    "https://www.livechat.com。evil.example/",
    "evil.example",
    "?x",
    "",
    "/" + "a" * 9000,
]


@pytest.mark.parametrize(("to", "expected"), GOOD_TO.items())
def test_to_leads_to_the_program(server: Server, partner: str, to: str, expected: str) -> None:
    assert landing(Visitor(server).click(partner, to=to)) == expected


@pytest.mark.parametrize("to", HOSTILE_TO)
def test_to_never_leaves_the_program(server: Server, partner: str, short: dict[str, str], to: str) -> None:
    for path in (f"/a/{partner}", short["livechat"]):
        answer = Visitor(server).get(f"{path}?to={quote(to, safe='')}")
        assert answer.status in (302, 414, 431), answer.status
        assert "evil.example" not in (answer.headers["X"] or "")
        if answer.status == 302:
            assert answer.location.isascii() and answer.location.isprintable() and "\\" not in answer.location
            parts = urlsplit(answer.location)
            assert parts.scheme == "https" and parts.netloc in PROGRAM_HOSTS, answer.location


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/%2f..",
        "//evil.example",
        "/a//evil.example",
        "/a/%2F%2Fevil.example",
        "/a/P/https://evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "/a/%00",
        "/%ff%fe",
        "/" + "x" * 5000,
        "/a/" + "x" * 5000,
    ],
)
def test_hostile_paths(server: Server, target: str) -> None:
    answer = Visitor(server).get(target)
    assert answer.status < 500
    if answer.status == 302:
        assert urlsplit(answer.location).netloc in PROGRAM_HOSTS


@pytest.mark.parametrize(
    ("target", "said"),
    [("/noSuchCode", "unknown-link"), ("/a/no-such-partner", "unknown-partner"), ("/a/a b!", "unknown-partner")],
)
def test_unknown_leads_home_unstamped(server: Server, target: str, said: str) -> None:
    answer = Visitor(server).get(quote(target))
    assert (answer.status, answer.said, landing(answer)) == (302, said, HOMES["livechat"])
    assert "a" not in answer.query and "lt" not in answer.query


def test_an_unknown_product_still_redirects(server: Server, partner: str) -> None:
    answer = Visitor(server).get(f"/a/{partner}/no_such_product")
    assert answer.status == 302 and urlsplit(answer.location).netloc in PROGRAM_HOSTS


NOT_COUNTED: list[tuple[str, dict[str, Any]]] = [
    ("bot", {"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}),
    ("bot", {"user_agent": "curl/8.5.0"}),
    ("bot", {"user_agent": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"}),
    ("bot", {"user_agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}),
    ("prefetch", {"Sec_Purpose": "prefetch"}),
    ("prefetch", {"Sec_Purpose": "prefetch;prerender"}),
    ("prefetch", {"Purpose": "prefetch"}),
    ("prefetch", {"X_Moz": "prefetch"}),
    ("head", {"method": "HEAD"}),
    ("opted-out", {"Sec_GPC": "1"}),
    ("opted-out", {"DNT": "1"}),
]


@pytest.mark.parametrize(("said", "given"), NOT_COUNTED, ids=[f"{said}-{given}" for said, given in NOT_COUNTED])
def test_not_counted(server: Server, partner: str, said: str, given: dict[str, Any]) -> None:
    headers = dict(given)
    visitor = Visitor(server)
    visitor.user_agent = headers.pop("user_agent", visitor.user_agent)
    answer = visitor.get(f"/a/{partner}", **headers)
    assert (answer.status, answer.said, landing(answer)) == (302, said, HOMES["livechat"])
    if said == "opted-out":
        assert "lt_vid" not in visitor.cookies and "lt" not in answer.query


def test_only_clicks_that_count_win(journey: Journey) -> None:
    """After one counted click: a bot's, a prefetch and a HEAD with the same cookie change nothing."""
    journey.join("P")
    journey.join("R")
    visitor = journey.visitor()
    visitor.click(journey.id("P"))
    for _, given in NOT_COUNTED:
        headers = dict(given)
        agent = headers.pop("user_agent", visitor.user_agent)
        Visitor(journey.server, agent, dict(visitor.cookies)).get(f"/a/{journey.id('R')}", **headers)
    assert journey.sign_up("L", visitor_id=visitor.id)["attribution"]["partner_id"] == journey.id("P")
    journey.attributed()
    assert journey.attribution("L")["partner_id"] == journey.id("P")


def test_suspended_and_reinstated(journey: Journey) -> None:
    """A suspension holds within a second in every worker, and so does its end."""
    journey.join("P")

    def all_say(said: str) -> bool:
        """Whether so many visitors in a row are told the same that every worker will have been asked."""
        return {journey.visitor().get(f"/a/{journey.id('P')}").said for _ in range(8)} == {said}

    for number, (kind, said) in enumerate([("suspended", "suspended-partner"), ("reinstated", "counted")] * 3):
        journey.partner_event(f"e{number}", "P", kind)
        poll(f"every worker knows that it is {kind}", 1, partial(all_say, said))


def test_a_new_partner_is_known_at_once(journey: Journey) -> None:
    for number in range(5):
        journey.join(f"P{number}")
        for _ in range(4):
            journey.visitor().click(journey.id(f"P{number}"))


def test_a_click_before_its_partner_joined(journey: Journey) -> None:
    """The redirect stays unstamped; the fact is kept. A join dated back lets later clicks count."""
    visitor = journey.visitor()
    assert visitor.get(f"/a/{journey.id('P')}").said == "unknown-partner"
    journey.join("P")
    visitor.click(journey.id("P"))
    assert journey.sign_up("L", visitor_id=visitor.id)["attribution"]["partner_id"] == journey.id("P")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(server: Server, partner: str, method: str) -> None:
    assert Visitor(server).get(f"/a/{partner}", method=method).status in (404, 405)
