"""The link checker says what the redirect would do, and the QR codes hold the links that they are of."""

from __future__ import annotations

import json
import re
import struct
import zlib
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
import world
import zxingcpp
from running_app import App

from reports.qr_codes import qr_png, qr_svg
from tracker import redis_keys

T = "http://localhost:8000"
STAMP = "AZJRNulQpkK5iIRitG7w-TFrBN_--OhuYHfZlYS6LR2d"
CLICKED = "A click on it counts for you"
NOBODY = "Nobody gets this click"

# What is pasted, what is said of it, and what is found.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (f"{T}/lcP", CLICKED, ()),
    (f"{T}/a/P", CLICKED, ()),
    (f"{T}/a/P/partner_program?utm_content=x&sub=1", CLICKED, ("Passed on", "utm_content=x sub=1", "Partner Program")),
    (f"{T}/spring", CLICKED, ("no campaign 'pp_spring'", "https://www.livechat.com/offers/?utm_source=PP&utm_campaign=pp_spring&a=P")),
    ("lcP", CLICKED, ()),
    ("localhost:8000/lcP", CLICKED, ("does not begin with https://",)),
    (f"  {T}/lcP\n", CLICKED, ("blank or a line break around",)),
    (f"<{T}/lcP>", CLICKED, ("Quotes or brackets around",)),
    (f"{T}/lc\u200bP", CLICKED, ("invisible characters",)),
    (f"{T}/lcP?sub=a b", CLICKED, ("blank inside", "sub=a%20b")),
    (f"{T}/lcP?sub=ü", CLICKED, ("percent-encoded: ü", "sub=%C3%BC")),
    (f"{T}/lcP?utm_content=x&amp;sub=1", CLICKED, ("&amp; is right in a page",)),
    (f"{T}/lcP?to=/pricing/", CLICKED, ("https://www.livechat.com/pricing/?utm_source=PP&a=P",)),
    (f"{T}/lcP?to=/", CLICKED, ()),
    (f"{T}/lcP?to=/?x=1", CLICKED, ("https://www.livechat.com/?x=1&utm_source=PP",)),
    (f"{T}/lcP?to=pricing/", CLICKED, ("does not begin with / or https://",)),
    (f"{T}/lcP?to=https%3A%2F%2Fevil.example%2F", CLICKED, ("outside the program", "https://www.livechat.com/?utm")),
    (f"{T}/lcP?to=//evil.example/", CLICKED, ("outside the program",)),
    (f"{T}/lcP?to=/a&to=/b", CLICKED, ("more than one to=",)),
    (f"{T}/lcP?a=Q&lt={STAMP}", CLICKED, ("a= is always ours", "lt= is always ours")),
    (f"{T}/lcP?sub={'x' * 300}", CLICKED, ()),
    (f"{T}/a/P/chatbot", CLICKED, ("no product 'chatbot'",)),
    (f"{T}/LCP", NOBODY, ("yours is lcP",)),
    (f"{T}/lcP.", NOBODY, ("'.' at its end",)),
    (f"{T}/lcP),", NOBODY, ("'),' at its end",)),
    (f"{T}/a/p", NOBODY, ("yours is P",)),
    (f"{T}/nothing", "there is no link with this code", ("leads to the home page",)),
    (f"{T}/a/Nobody", "there is no partner with this ID", ()),
    (f"{T}/a/P/livechat/more", NOBODY, ()),
    (f"{T}/", NOBODY, ()),
    (f"{T}/linker.js", "no link to share", ()),
    (f"{T}/v1/signups", "no link to share", ()),
    (f"{T}/a/Q", "another partner", ("you earn nothing with it",)),
    (f"{T}/a/S", "another partner", ()),
    ("https://www.livechat.com/?a=P&utm_source=PP", CLICKED, ("own script counts",)),
    ("https://www.livechat.com/pricing/?a=P", CLICKED, ("Without utm_source=PP",)),
    ("http://livechat.com/?a=P", CLICKED, ("begins with http://",)),
    ("https://partners.livechat.com/?a=P&utm_campaign=pp_x", CLICKED, ("pp_x", "Partner Program")),
    ("https://www.livechat.com/?a=P&utm_campaign=mine", CLICKED, ("not a campaign of the program",)),
    (f"https://www.livechat.com/?a=P&lt={STAMP}", CLICKED, ("stamp of one visitor",)),
    (f"https://www.livechat.com/?a=P&%6ct={STAMP}", CLICKED, ("stamp of one visitor",)),
    ("https://www.livechat.com/?a=P&a=Q", CLICKED, ("more than one a=",)),
    ("https://www.livechat.com/?a=p", NOBODY, ("yours is P",)),
    ("https://www.livechat.com/?a=P.", NOBODY, ("'.' at its end",)),
    ("https://www.livechat.com/?a=%3Cb%3E", NOBODY, ()),
    ("https://www.livechat.com/?a=Q", "another partner", ()),
    ("https://www.livechat.com/pricing/", "names no partner", ("Add a=P",)),
    ("https://www.livechat.com/?a=P&to=/pricing/", CLICKED, ("to= does nothing here",)),
    ("https://evil.example/?a=P", "does not lead to the program", ("not followed here",)),
    ("https://www.livechat.com@evil.example/?a=P", "does not lead to the program", ()),
    ("https://www.livechat.com.evil.example/?a=P", "does not lead to the program", ()),
    ("javascript:alert(1)", "not a link", ()),
    ("ftp://www.livechat.com/?a=P", "not a link", ()),
    ("https://[", "not a link", ()),
    ("hello there", "does not lead to the program", ("blank inside",)),
    ("https://www.livechat.com/?" + "x" * 3000, "longer than 2,048 characters", ()),
    ('"><script>alert(1)</script>', "does not lead to the program", ()),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def directory(app: App) -> None:
    """The directory that trackers look links up in."""
    for partner_id in ("P", "Q", "S"):
        changes = [[world.day(10), "s1", "suspended"]] if partner_id == "S" else []
        entry: dict[str, Any] = {"joined_at": world.day(2), "name": "Name", "email": "e", "email_hash": "h"}
        entry |= {"recruiter_id": "", "links": {}, "changes": changes}
        app.redis.hset(redis_keys.PARTNERS, partner_id, json.dumps(entry))
        link = {"partner_id": partner_id, "product": "livechat", "campaign": "", "landing_url": ""}
        app.redis.hset(redis_keys.LINKS, f"lc{partner_id}", json.dumps(link))
    campaign = {"campaign": "pp_spring", "landing_url": "https://www.livechat.com/offers/"}
    app.redis.hset(redis_keys.LINKS, "spring", json.dumps({"partner_id": "P", "product": "livechat", **campaign}))


@pytest.fixture(scope="module")
def cookies(app: App) -> dict[str, str]:
    return {name: app.sign_in(app.tokens[name]) for name in ("P", "S", "admin")}


def checked(app: App, cookie: str, link: str, path: str = "/partner/links/check") -> str:
    answer = app.get(f"{path}?{urlencode({'link': link})}", cookie=cookie)
    assert answer.status == 200, answer.text
    return answer.text.replace("&amp;", "&").replace("&#39;", "'").replace("&lt;", "<")


@pytest.mark.parametrize(("link", "verdict", "found"), CASES, ids=lambda value: str(value)[:60] if value else "")
def test_what_is_said_of_a_link(
    app: App, cookies: dict[str, str], link: str, verdict: str, found: tuple[str, ...]
) -> None:
    page = checked(app, cookies["P"], link)
    for words in (verdict, *found):
        assert words in page
    assert "<script>" not in app.get(f"/partner/links/check?{urlencode({'link': link})}", cookie=cookies["P"]).text
    if STAMP not in link:
        assert not re.search(r"\blt=", page), "a stamp that is shown is soon shared"


def test_nobody_learns_more_of_another_partner_than_the_link_says(app: App, cookies: dict[str, str]) -> None:
    for link in (f"{T}/a/S", f"{T}/lcQ"):
        page = checked(app, cookies["P"], link)
        for secret in ("Sam Suspended", "Quinn", "suspended", "partners.example"):
            assert secret not in page
    suspended, active = (
        app.get(f"/v2/partners/links/check?link={T}/a/{one}", app.tokens["P"]).text.replace(f"/{one}", "/X")
        for one in ("S", "Q")
    )
    assert suspended.replace('"S"', '"X"').replace("a=S", "a=X") == active.replace('"Q"', '"X"').replace("a=Q", "a=X")
    own = checked(app, cookies["S"], f"{T}/a/S")
    assert "Your account is suspended: visitors are sent on" in own


def test_a_campaign_is_shown_with_its_deal_to_whose_it_is(app: App, cookies: dict[str, str]) -> None:
    form = {"name": "Winter review", "product": "livechat", "landing_url": "https://www.livechat.com/winter/"}
    page = change(app, cookies["P"], 201, **form, trial_days="30", coupon_id="1")
    (code,) = re.findall(rf"{T}/(\w+)</code>", page)
    found = checked(app, cookies["P"], f"{T}/{code}")
    for words in (
        CLICKED,
        "Winter review (pp_winter-review)",
        "30-day trial, 10% off for a year",
        "/winter/?utm_source",
    ):
        assert words in found
    assert "Winter review" in checked(app, cookies["P"], "https://www.livechat.com/?a=P&utm_campaign=pp_winter-review")
    foreign = checked(app, cookies["S"], f"{T}/{code}")
    assert "pp_winter-review" in foreign and "Winter review" not in foreign and "30-day" not in foreign
    (number,) = re.findall(r'name="stop" value="(\d+)"', page)
    assert "is switched off" in change(app, cookies["P"], 200, stop=number)
    assert "This campaign is switched off" in checked(app, cookies["P"], f"{T}/{code}")


def test_campaigns_say_what_is_wrong_and_keep_what_was_filled_in(app: App, cookies: dict[str, str]) -> None:
    good = {"name": "Spring video", "product": "livechat"}
    for wrong, status, words in (
        ({"name": "abc"}, 400, "at least 5 characters"),
        ({"name": "x" * 101}, 400, "more than 100 characters"),
        ({"product": "chatbot"}, 400, "choose one of the list"),
        ({"landing_url": "https://evil.example/"}, 400, "must be an address on"),
        ({"trial_days": "61"}, 400, "from 14 to 60 days"),
        ({"trial_days": "ten"}, 400, "whole number"),
        ({"coupon_id": "7"}, 403, "none of your coupons"),
        ({"stop": "12345"}, 404, ""),
    ):
        page = change(app, cookies["P"], status, **{**good, **wrong})
        assert words in page
        assert status == 404 or f'value="{({**good, **wrong})["name"]}"' in page
    change(app, cookies["P"], 201, **good)
    assert "you have a campaign called" in change(app, cookies["P"], 409, **good)
    assert "Spring video" not in app.get("/partner/campaigns", cookie=cookies["S"]).text
    shown = app.get("/admin/partners/P/campaigns", cookie=cookies["admin"]).text
    assert "Spring video" in shown and "Start a campaign" not in shown
    assert app.send("POST", "/partner/campaigns", cookie=cookies["P"], form=good).status == 403, "without our own form"


def change(app: App, cookie: str, status: int, **form: str) -> str:
    """What the campaigns' page says to a form that is sent from it."""
    (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', app.get("/partner/campaigns", cookie=cookie).text))
    answer = app.send("POST", "/partner/campaigns", cookie=cookie, form={**form, "csrf": csrf})
    assert answer.status == status, answer.text
    return answer.text.replace("&#39;", "'")


def test_an_administrator_learns_whose_link_it_is(app: App, cookies: dict[str, str]) -> None:
    page = checked(app, cookies["admin"], f"{T}/a/Q", "/admin/links")
    assert "counts for Quinn Recruiter (Q)" in page
    assert 'href="/admin/partners/Q/"' in page
    assert "Sam Suspended (S) is suspended" in checked(app, cookies["admin"], f"{T}/lcS", "/admin/links")
    assert CLICKED in checked(app, cookies["admin"], f"{T}/a/Q", "/admin/partners/Q/links/check")
    assert app.get("/admin/links", cookie=cookies["P"]).status == 404


def test_programs_can_ask_too(app: App) -> None:
    link = quote(f"{T}/a/P/chatbot?sub=1", safe="")
    asked = app.get(f"/v2/partners/links/check?link={link}", app.tokens["P"]).json
    assert (asked["kind"], asked["whose"], asked["counts"]) == ("Direct link", "own", True)
    assert asked["facts"]["Passed on"] == "sub=1" and [one["level"] for one in asked["findings"]] == ["wrong"]
    assert "Quinn" in app.admin(f"/v2/admin/links/check?link={quote(f'{T}/a/Q', safe='')}")["verdict"]
    for query in ("", "link=", "link=x&other=1"):
        answer = app.get(f"/v2/partners/links/check?{query}", app.tokens["P"])
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, "other" if "other" in query else "link")


def test_what_is_wrong_is_in_the_verdict_too(app: App, cookies: dict[str, str]) -> None:
    assert "A click on it counts for you." in checked(app, cookies["P"], f"{T}/lcP")
    assert "counts for you, but something is wrong" in checked(app, cookies["P"], f"{T}/a/P/chatbot")


def test_without_a_link_there_is_help(app: App, cookies: dict[str, str]) -> None:
    for path, who in (("/partner/links/check", "P"), ("/partner/links/check?link=%20", "P"), ("/admin/links", "admin")):
        assert "Paste a link to see what it does" in app.get(path, cookie=cookies[who]).text


def test_no_click_is_recorded(app: App, cookies: dict[str, str]) -> None:
    before = app.redis.keys("*")
    checked(app, cookies["P"], f"{T}/lcP")
    assert sorted(app.redis.keys("*")) == sorted(before)


def test_qr_codes_are_of_ones_own_links_only(app: App, cookies: dict[str, str]) -> None:
    for link, status in (
        (f"{T}/lcP", 200),
        (f"{T}/lcP?utm_content=flyer", 200),
        ("https://www.livechat.com/pricing/?a=P&utm_source=PP", 200),
        (f"{T}/lcQ", 404),
        (f"{T}/nothing", 404),
        ("https://evil.example/", 404),
        ("", 404),
        (f"https://www.livechat.com/?a=P&lt={STAMP}", 400),
        (f"{T}/lcP?sub={'x' * 600}", 400),
    ):
        for ending in ("svg", "png"):
            answer = app.get(f"/partner/links/qr.{ending}?link={quote(link, safe='')}", cookie=cookies["P"])
            assert answer.status == status, (link, ending)
    kept = app.get(f"/partner/links/qr.png?link={T}/lcP&download=1", cookie=cookies["P"])
    assert kept.headers["Content-Disposition"] == 'attachment; filename="qr-P.png"'
    assert kept.headers["Content-Type"] == "image/png"
    assert app.get(f"/partner/links/qr.svg?link={T}/lcP").status == 401
    assert app.get(f"/admin/partners/Q/links/qr.svg?link={T}/lcQ", cookie=cookies["admin"]).status == 200


@pytest.mark.parametrize("link", [f"{T}/lcP", f"{T}/a/P?to=/pricing/&utm_content=" + "x" * 400, f"{T}/a/P?sub=ü"])
def test_a_reader_finds_the_link_in_its_qr_code(link: str) -> None:
    png = qr_png(link)
    modules = pixels(png)
    assert modules.shape[0] == modules.shape[1] >= 1024
    assert [found.text for found in zxingcpp.read_barcodes(modules)] == [link]
    svg = qr_svg(link).decode()
    assert "viewBox" in svg and " width=" not in svg.partition(">")[0] and 'fill="#fff"' in svg


def pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The grey values of a PNG with a bit a pixel, as segno writes them."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, width = 8, b"", 0
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunk = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack(">IIBB", chunk[:10])
            assert (depth, colour) == (1, 0)
        data += chunk if kind == b"IDAT" else b""
        at += length + 12
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(-1, 1 + -(-width // 8))
    assert set(rows[:, 0]) <= {0, 2}, "as they are, or as the difference to the row above"
    plain = rows.copy()
    for number in np.flatnonzero(rows[:, 0]):
        plain[number, 1:] += plain[number - 1, 1:]
    return np.unpackbits(plain[:, 1:], axis=1)[:, :width] * np.uint8(255)
