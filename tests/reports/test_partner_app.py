"""What a partner sees: their own numbers, with R15 and R20 obeyed and hostile names harmless."""

from __future__ import annotations

import re
from typing import Any

import pytest
import world
from running_app import ADMIN_TOKEN, App

from reports.partner_app.clicks import outcome, referring_host


def page(app: App, path: str, who: str = "P") -> str:
    answer = app.get(path, cookie=app.sign_in(app.tokens[who]))
    assert answer.status == 200, answer.text
    return re.sub(r"\s+", " ", answer.text)


def numbers(text: str) -> dict[str, str]:
    """The headline numbers of a page: term → value."""
    return {term: value.strip() for term, value in re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)", text)}


def test_overview(app: App) -> None:
    text = page(app, "/partner/")
    found = numbers(text)
    assert found["Balance"] == "$3.80", "2,380 cents of commission, of which 2,000 are blocked (R12)"
    assert found["First tier, all time"] == "$23.80" and found["Second tier, all time"] == "$0.00"
    # 30 days before 10 Feb: clicks 10, 11, 40, 50; L1, SOL1, SOL2 and the self-referral L3.
    assert (found["Clicks, 30 days"], found["Signups, 30 days"]) == ("4", "4")
    assert found["Commission, 30 days"] == "$23.80"
    assert "$20.00 more is on hold" in text
    assert numbers(page(app, "/partner/", "Q"))["Balance"] == "$3.11", (
        "a recruiter's share of a blocked license is blocked too"
    )
    assert "Your account is suspended" in page(app, "/partner/", "S")


def test_overview_of_a_year_by_month(app: App) -> None:
    text = page(app, "/partner/?span=12m")
    assert numbers(text)["Clicks, 12 months"] == "5", "the click of day 8 too"
    assert "Mar 2025" in text and "Feb 2026" in text and "Feb 2025" not in text, "twelve months, this one included"
    assert app.get("/partner/?span=nonsense", cookie=app.sign_in(app.tokens["P"])).status == 400


def test_overview_as_data(app: App) -> None:
    answer = app.get("/v2/partners/overview?date_from=2026-01-20&date_to=2026-02-10", app.tokens["P"])
    assert answer.status == 200, answer.text
    found = answer.json
    assert len(found["items"]) == 22, "days without anything are there"
    by_day = {item["day"]: item for item in found["items"]}
    assert by_day["2026-01-21"]["clicks"] == 2 and by_day["2026-01-22"]["signups"] == 1
    assert by_day["2026-01-25"]["first_tier_cents"] == 580 and by_day["2026-01-31"]["first_tier_cents"] == -200
    assert found["totals"]["clicks"] == sum(item["clicks"] for item in found["items"]) == 4
    assert found["balance_cents"] == found["commission_cents"] - found["blocked_cents"] == 380
    assert app.get("/v2/partners/overview", app.tokens["P"]).json["items"][-1]["day"] == "2026-02-10"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("date_from=yesterday", "date_from"),
        ("date_to=2026-02-30", "date_to"),
        ("date_from=2026-02-02&date_to=2026-02-01", "date_to"),
        ("date_from=2024-01-01&date_to=2026-01-01", "date_to"),
        ("date_from=1969-01-01&date_to=1969-01-02", "date_from"),
        ("date_to=0001-01-01", "date_from"),
        ("date_from=9999-12-31&date_to=9999-12-31", "date_from"),
    ],
)
def test_bad_days_are_named(app: App, query: str, field: str) -> None:
    answer = app.get(f"/v2/partners/overview?{query}", app.tokens["P"])
    assert answer.status == 400 and field in answer.text


def test_hostile_names_are_only_text(app: App) -> None:
    for path in ("/partner/", "/admin/partners", "/admin/partners?search=%3Cscript%3E", "/admin/partners/P/"):
        text = page(app, path, "P" if path == "/partner/" else "admin")
        assert "<script>alert" not in text and "&lt;script&gt;" in text


def test_no_page_has_inline_script_or_style(app: App) -> None:
    for path, who in (("/partner/", "P"), ("/partner/clicks", "P"), ("/marketing/funnel", "marketing"), ("/docs", "P")):
        text = page(app, path, who)
        assert not re.search(
            r"<style|\sstyle=|\son[a-z]+=|<script(?! src=\"/static/)|https?://(?!localhost|www\.livechat|partners)",
            text,
        )


def test_links(app: App) -> None:
    text = page(app, "/partner/links")
    for link in (
        "http://localhost:8000/lcP", "http://localhost:8000/ppP", "http://localhost:8000/a/P<",
        "http://localhost:8000/a/P/partner_program", "https://www.livechat.com/?a=P&amp;utm_source=PP",
    ):  # fmt: skip
        assert link in text


def test_clicks_say_why_they_count_and_what_they_led_to(app: App) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", page(app, "/partner/clicks"))[1:]
    told = [re.findall(r"<td[^>]*>(.*?)</td>", row)[-2:] for row in rows]
    plain = [tuple(re.sub("<[^>]+>", "", cell).strip() for cell in cells) for cells in told]
    assert plain == [
        ("Counted", "No signup yet"),
        ("Counted", "Won license L3"),
        ("Not counted: a bot or crawler", "–"),
        ("Counted", "Won license L1"),
        ("Counted", "The visitor signed up; a newer click won"),
        ("Counted", "The visitor signed up; a newer click won"),
    ]
    text = page(app, "/partner/clicks")
    assert "blog.example" in text and "jane@example" not in text, "a referrer's query is nobody's business"
    assert "L2" not in text, "whose license a newer click won is not told"
    suspended = page(app, "/partner/clicks", "S")
    assert "Not counted: the partner was suspended" in suspended and "Won license L2" in suspended
    assert "Recruited P" in page(app, "/partner/clicks", "Q")


@pytest.mark.parametrize(
    ("happened", "winner", "now", "expected"),
    [
        (None, "", 100, "No signup yet"),
        (None, "", 121 * 86_400_000, "No signup within 120 days"),
        (5, "c", 100, "Won license L"),
        (5, "other", 100, "The visitor signed up; a newer click won"),
        (121 * 86_400_000, "other", 122 * 86_400_000, "No signup within 120 days"),
    ],
)
def test_outcomes(happened: int | None, winner: str, now: int, expected: str) -> None:
    click = {"id": "c", "visitor": "v", "clicked_ms": 1, "counts_as": "counted"}
    other = {"what": "license", "id": "X", "visitor": "w", "happened_ms": 2, "winner": "c"}
    signups: list[dict[str, Any]] = [other]
    if happened is not None:
        signups.append({"what": "license", "id": "L", "visitor": "v", "happened_ms": happened, "winner": winner})
    assert outcome(click, signups, now, 120 * 86_400_000) == expected


def test_referring_hosts() -> None:
    assert [referring_host(text) for text in ("https://a.b:8/c?d", "", "http://[::bad", "x")] == ["a.b", "", "", ""]


def test_licenses(app: App) -> None:
    rows = {
        re.sub("<[^>]+>", " ", cells[0]).split()[0]: [re.sub("<[^>]+>", "", cell).strip() for cell in cells[1:]]
        for row in re.findall(r"<tr>(.*?)</tr>", page(app, "/partner/licenses"))[1:]
        if (cells := re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row))
    }
    assert set(rows) == {"L1", "L3", "SOL1", "SOL2"}
    since, stage, client, why, saved, earned = rows["L1"]
    assert (since, stage, client, saved, earned) == ("22 Jan 2026", "Paid", "j…e@e…m", "–", "$3.80")
    assert rows["SOL1"][-2:] == ["$7.03", "$0.00"], "2320 × 20/80 = 580 and the 123 that the payment named"
    assert "You pay" in rows["SOL1"][3] and "On hold" in rows["SOL2"][1]
    assert "your own" in rows["L3"][3] and rows["L3"][-1] == "$0.00" and "last one" in why


def test_why_a_license_earned_or_not(app: App) -> None:
    link = page(app, "/partner/licenses/L1")
    assert "P earns 20 % of what was paid" in link and "$5.80" not in link.split("You earn")[0]
    assert 'Refund on 31 Jan 2026: <span class="minus">−$2.00' in link
    paying = page(app, "/partner/licenses/SOL1")
    assert "the partner pays, 20 % less already" in paying and "$23.20" in paying
    own = page(app, "/partner/licenses/L3")
    assert "the client is the partner" in own and "$50.00" not in own, (
        "R15: nothing earned, the client's money is theirs"
    )
    late = page(app, "/partner/licenses/L2", "S")
    assert "suspended at the time of the payment" in late and "$10.00" not in late
    assert app.get("/partner/licenses/L2", cookie=app.sign_in(app.tokens["P"])).status == 404


def test_a_license_tells_the_fate_of_each_click_and_not_whose_it_was(app: App) -> None:
    text = page(app, "/partner/licenses/L2", "S").split('id="candidates"')[1]
    assert "Yours" in text and "Won" in text
    assert "Another partner" in text and "R2: an older click" in text and "/P" not in text
    answer = app.get("/v2/partners/licenses/L2/explanation", app.tokens["S"])
    assert answer.status == 200, answer.text
    assert [(one["is_own"], one["counted"], one["refused"] is None) for one in answer.json["clicks"]] == [
        (True, True, True), (False, True, False),
    ]  # fmt: skip
    payment = answer.json["payments"][0]
    assert payment["earned_cents"] == 0 and "R11" in payment["text"] and payment["amount_cents"] is None
    refunded = app.get("/v2/partners/licenses/L1/explanation", app.tokens["P"]).json["payments"][0]
    assert (refunded["amount_cents"], refunded["earned_cents"]) == (2900, 380)
    assert [one["earned_cents"] for one in refunded["came_back"]] == [-200]
    for who, license_id in (("P", "L2"), ("P", "nope"), ("Q", "L1"), ("P", "%27")):
        assert app.get(f"/v2/partners/licenses/{license_id}/explanation", app.tokens[who]).status == 404


def api(app: App, query: str = "", who: str = "Q") -> list[dict[str, Any]]:
    answer = app.get(f"/v2/partners/commissions?{query}", app.tokens[who])
    assert answer.status == 200, answer.text
    items: list[dict[str, Any]] = answer.json["items"]
    return items


def test_second_tier_lines_name_the_referred_partner_instead(app: App) -> None:
    items = api(app)
    assert [item["amount_cents"] for item in items] == [-50, 145, 500, 100, 116]
    for item in items:
        assert (item["license_id"], item["payment_id"], item["referred_partner_id"]) == (None, None, "P")
    assert api(app, "payment_id=pay1") == [] and api(app, "license_id=L1") == [], "a filter must not tell either"
    assert api(app, "license_id=L1&tier=2") == []
    assert [item["amount_cents"] for item in api(app, "license_id=L1", "P")] == [-200, 580]
    assert [item["amount_cents"] for item in api(app, "tier=1")] == []
    assert len(api(app, "tier=2&date_to=2026-01-18&limit=500")) == 2
    assert app.get("/v2/partners/commissions?limit=501", app.tokens["Q"]).status == 400


OF_THE_CLIENT = re.compile(rf"pay\d|\bL1\b|SOL\d|j…e|s…l|\br1\b|{world.uid(10)}|{world.uid(11)}|spring|blog")


def test_second_tier_chains_hide_the_client(app: App) -> None:
    for item in api(app):
        answer = app.get(f"/v2/partners/commissions/{item['entry_id']}/chain", app.tokens["Q"])
        assert answer.status == 200
        shown = page(app, f"/partner/commissions/{item['entry_id']}", "Q")
        assert not OF_THE_CLIENT.search(answer.text) and not OF_THE_CLIENT.search(shown)
        steps = answer.json["steps"]
        assert [step["step"] for step in steps] == ["payment", "partner", "join", "click", "recruiter"]
        assert steps[0]["referred_partner_id"] == "P" and steps[-1]["partner_id"] == "Q"
        assert steps[3]["click_id"] == world.uid(1), "the recruiter's own click"


def test_first_tier_chain_on_a_page_and_unfolded(app: App) -> None:
    entry_id = api(app, "payment_id=pay1", "P")[0]["entry_id"]
    whole = page(app, f"/partner/commissions/{entry_id}")
    fragment = page(app, f"/partner/commissions/{entry_id}/fragment")
    for text in (whole, fragment):
        assert "Refund of $10.00" in text and "j…e@e…m" in text and "Recruited by Q" in text
    assert "<html" in whole and "<html" not in fragment


def test_line_list_pages_and_filters(app: App) -> None:
    assert page(app, "/partner/commissions").count("<details data-chain") == 3
    assert page(app, "/partner/commissions?tier=2").count("<details data-chain") == 0
    assert "No lines match" in page(app, "/partner/commissions?date_from=2026-03-01")
    assert page(app, "/partner/commissions?date_from=2026-01-25&date_to=2026-01-25").count("<details data-chain") == 1
    assert app.get("/partner/commissions?date_from=x", cookie=app.sign_in(app.tokens["P"])).status == 400


def test_an_admin_sees_what_the_partner_sees(app: App) -> None:
    for path in ("/", "/links", "/clicks", "/licenses", "/licenses/L1", "/commissions"):
        own = page(app, f"/partner{path}")
        seen = page(app, f"/admin/partners/P{path}", "admin")
        assert numbers(own) == numbers(seen)
        assert own.count("<tr>") == seen.count("<tr>")
    assert "L1" not in page(app, "/admin/partners/Q/commissions", "admin"), "R20 holds there too"
    assert app.get("/admin/partners/GHOST/", cookie=app.sign_in(ADMIN_TOKEN)).status == 404


def test_admin_pages(app: App) -> None:
    assert "Answers" in page(app, "/admin/", "admin")
    assert page(app, "/admin/commissions?partner_id=P", "admin").count("<tr>") == 4
    assert "Won" in page(app, "/admin/licenses?license_id=L2", "admin")
    entry_id = app.admin("/v2/admin/commissions?payment_id=pay1&partner_id=Q")["items"][0]["entry_id"]
    assert "Of the $29.00 paid with pay1" in page(app, f"/admin/commissions/{entry_id}", "admin")
    bad = app.get("/admin/commissions?date_from=x", cookie=app.sign_in(ADMIN_TOKEN))
    assert bad.status == 400 and "date_from: must be a date" in bad.text


def test_admin_makes_and_revokes_a_token_on_the_page(app: App) -> None:
    cookie = app.sign_in(ADMIN_TOKEN)
    csrf = re.findall(r'name="csrf" value="(\w+)"', app.get("/admin/tokens", cookie=cookie).text)[0]
    form = {"label": '"><script>', "scope": "marketing"}
    assert app.send("POST", "/admin/tokens", cookie=cookie, form=form).status == 403, "without the form's token"
    made = app.send("POST", "/admin/tokens", cookie=cookie, form=form | {"csrf": csrf})
    secret = re.search(r'<code id="secret">([^<]+)</code>', made.text)
    assert made.status == 201 and secret and '"><script>' not in made.text
    assert app.get("/v2/reports/funnel", secret[1]).status == 200
    assert app.send("POST", "/admin/tokens", cookie=cookie, form=form | {"csrf": csrf}).status == 409
    assert (
        app.send("POST", "/admin/tokens", cookie=cookie, form={"label": "x", "scope": "admin", "csrf": csrf}).status
        == 422
    )
    number = re.findall(r'name="revoke" value="(\d+)" aria-label="Revoke &#34;', made.text)[0]
    assert app.send("POST", "/admin/tokens", cookie=cookie, form={"revoke": number, "csrf": csrf}).status == 200
    assert app.get("/v2/reports/funnel", secret[1]).status == 401


def test_example_data_are_marked(app: App) -> None:
    assert "Example data" not in page(app, "/partner/")
    app.redis.set("{dir}:demo", "1")
    try:
        assert "Example data" in page(app, "/partner/") and "Example data" in app.get("/").text
    finally:
        app.redis.delete("{dir}:demo")
