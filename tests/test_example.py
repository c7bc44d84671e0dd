"""The example program of `--demo`: it fills an empty folder, and no other."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import playwright.sync_api as playwright
import pytest
import redis
from playwright.sync_api import sync_playwright

from loadtests import example_program
from loadtests.example_history import history
from loadtests.example_partners import PARTNERS
from tests.harness import BROWSER, Answer, send
from tests.serve_run import SOON_SECONDS, Run, until
from tracker import redis_keys
from tracker.bodies import Reading, read_body
from tracker.errors import SettingError
from tracker.program import Program


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """One `serve --demo` for the tests of this module."""
    with tempfile.TemporaryDirectory(prefix="lt-demo-") as folder:
        started = Run(Path(folder) / "data").start("--demo")
        yield started
        if started.process.poll() is None:
            started.stop()


def test_the_example_fills_an_empty_folder_and_sends_visitors(run: Run) -> None:
    assert "EXAMPLE DATA" in run.said("out")
    filled = run.pipeline()
    assert filled["accepted"] > 25_000
    assert filled["quarantined"] == filled["duplicates"] == 0
    partners = json.loads(run.get("app", "/v2/admin/partners?limit=100")[2])["items"]
    assert len(partners) == len(PARTNERS)
    recruited = {one["partner_id"] for one in partners if one["recruiter_id"]}
    assert recruited == {partner.partner_id for partner in PARTNERS if partner.recruiter}
    until("live visitors", SOON_SECONDS, lambda: run.pipeline()["accepted"] > filled["accepted"] + 2)


@dataclass
class Browser:
    """A visitor without JavaScript on the example sites: cookies, links and forms."""

    run: Run
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, url: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        parts = urlsplit(url)
        headers |= {"Host": parts.netloc, "User-Agent": BROWSER, "Content-Type": "application/x-www-form-urlencoded"}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = urlencode(form or {})
        answer = send(parts.port or 80, method, f"{parts.path}?{parts.query}", body or None, headers)
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def follow(self, path: str) -> str:
        """Follow a link of the tracker's; gives where it led."""
        answer = self.ask("GET", f"{self.run.where()['tracker_url']}{path}")
        assert answer.said == "counted"
        landing = answer.headers["Location"] or ""
        page = self.ask("GET", landing)
        assert page.status == 200 and "<strong>Example site.</strong>" in page.body.decode()
        return landing

    def send(self, url: str, **form: str) -> str:
        """Post a form that is taken; gives the page that it leads to."""
        answer = self.ask("POST", url, form)
        assert answer.status == 303, answer.body.decode()
        return urljoin(url, answer.headers["Location"] or "")

    def told(self, url: str) -> list[Any]:
        """What a page shows of what was told: each body, then its answer."""
        return [json.loads(unescape(text)) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", self.read(url), re.S)]

    def read(self, url: str) -> str:
        answer = self.ask("GET", url)
        assert answer.status == 200
        return answer.body.decode()


TRIAL = {"name": "Otter Coffee", "email": "otter@example.com", "plan": "team", "seats": "1"}


def sites(run: Run) -> tuple[str, str]:
    """The addresses of the LiveChat site and of the partner program's, as `serve` prints them."""
    livechat, partners = re.findall(r"http://\w+\.localhost:\d+/", run.said("out"))
    return livechat, partners


def tracker(run: Run) -> str:
    """The tracker's address as browsers have it."""
    return str(run.where()["tracker_url"]).replace("127.0.0.1", "localhost")


def test_a_visitor_without_javascript_signs_up_pays_and_is_refunded(run: Run) -> None:
    livechat, _ = sites(run)
    partner_id = PARTNERS[0].partner_id
    browser = Browser(run)
    landing = browser.follow(f"/a/{partner_id}?to=/features/help-widget/")
    assert landing.startswith(f"{livechat}features/help-widget/?")
    forged = {"lt_visitor": "not a visitor", "lt_partner": "no'body"}
    account = browser.send(f"{livechat}signup/", **TRIAL, **forged)
    told, answered = browser.told(account)
    assert "visitor_id" not in told and told["partner_id"] == partner_id
    assert answered["attribution"]["partner_id"] == partner_id
    for _ in range(2):  # a double click
        assert browser.send(f"{account}pay/", number="1") == account
    payment = f"{told['license_id']}-p1"
    assert [line["payment_id"] for line in browser.told(account)[2:4]] == [payment, payment]
    browser.send(f"{account}refund/", payment_id=payment)
    assert "Refunded" in browser.read(account) and 'refunds</code> <span class="state taken' in browser.read(account)
    until("all is attributed", SOON_SECONDS, lambda: run.pipeline()["attributed"])
    explained = json.loads(run.get("app", f"/v2/admin/licenses/{told['license_id']}/attribution")[2])
    assert (explained["partner_id"], explained["reason"]) == (partner_id, "last_touch")
    lines = json.loads(run.get("app", f"/v2/admin/commissions?payment_id={payment}")[2])["items"]
    assert sorted(line["amount_cents"] for line in lines if line["tier"] == 1) == [-580, 580]


def test_a_join_shows_the_links_and_an_email_joins_once(run: Run) -> None:
    _, partners = sites(run)
    browser = Browser(run)
    browser.follow(f"/a/{PARTNERS[0].partner_id}/partner_program")
    form = {"name": "Mara <b>", "email": "mara@example.com"}
    welcome = browser.send(f"{partners}join/", **form)
    told, answered = browser.told(welcome)
    assert answered["recruiter_id"] == PARTNERS[0].partner_id
    assert answered["links"]["livechat"]["short_url"] in browser.read(welcome)
    assert "Mara &lt;b&gt;" in browser.read(welcome)
    again = browser.ask("POST", f"{partners}join/", form)
    assert (again.status, "joined with this e-mail already" in again.body.decode()) == (422, True)
    code = urlsplit(answered["links"]["livechat"]["short_url"]).path
    assert f"a={told['partner_id']}" in Browser(run).follow(code)


def test_a_campaigns_deal_is_given_and_what_was_really_paid_is_told(run: Run) -> None:
    livechat, _ = sites(run)
    port = urlsplit(run.where()["app_url"]).port or 0
    admin = {"Authorization": f"Bearer {(run.data / 'admin-token').read_text().strip()}"}
    path = f"/v2/admin/partners/{PARTNERS[0].partner_id}/tokens"
    partner = {"Authorization": f"Bearer {send(port, 'POST', path, {'label': 'deals'}, admin).json['token']}"}
    campaign = {"name": "Winter video", "product": "livechat", "trial_duration": 30, "coupon_id": 1}
    started = send(port, "POST", "/v2/partners/affiliates/campaigns", campaign, partner)
    assert started.status in (200, 201), started.body
    browser = Browser(run)
    browser.follow(urlsplit(started.json["short_url"]).path)
    until("the click is in Redis", SOON_SECONDS, lambda: run.pipeline()["spooled"] == 0)
    account = browser.send(f"{livechat}signup/", **{**TRIAL, "email": "deal@example.com"})
    assert "a trial of 30 days, 10% off for a year" in browser.read(account)
    browser.send(f"{account}pay/", number="1")
    assert browser.told(account)[2]["amount_cents"] == 2610


def test_forms_that_are_wrong_say_so_and_keep_what_was_filled_in(run: Run) -> None:
    livechat, _ = sites(run)
    for change, complaint in (
        ({"seats": "0"}, "number of seats from 1 to 100"),
        ({"plan": "none"}, "choose a plan"),
        ({"email": "nobody"}, "such as jane@example.com"),
        ({"name": " "}, "fill in your name"),
    ):
        answer = Browser(run).ask("POST", f"{livechat}signup/", {**TRIAL, **change})
        assert (answer.status, complaint in answer.body.decode()) == (422, True), change
        assert change.get("email", TRIAL["email"]) in answer.body.decode()
    assert Browser(run).ask("POST", f"{livechat}signup/", {"name": "x" * 20_000}).status == 422
    assert Browser(run).ask("GET", f"{livechat}account/nothing/").status == 404
    assert Browser(run).ask("POST", f"{livechat}account/nothing/pay/", {"number": "1"}).status == 404


def test_nothing_is_kept_without_consent_or_of_whom_asks_for_privacy(run: Run) -> None:
    livechat, _ = sites(run)
    partner_id = PARTNERS[0].partner_id
    visitor = Browser(run)
    visitor.ask("GET", f"{livechat}eu/?a={partner_id}")
    visitor.ask("GET", f"{livechat}?a={partner_id}", **{"Sec-GPC": "1"})
    assert visitor.cookies == {}
    visitor.cookies["site_consent"] = "yes"
    visitor.ask("GET", f"{livechat}eu/?a={partner_id}")
    assert visitor.cookies["site_a"] == partner_id


def test_the_server_keeps_who_came_for_browsers_that_forget_what_scripts_keep(run: Run) -> None:
    livechat, _ = sites(run)
    partner_id = PARTNERS[0].partner_id
    browser = Browser(run)
    browser.follow(f"/a/{partner_id}")
    visitor_id = browser.cookies["lt_vid"]  # the tracker's, which the site never sees in a real browser
    assert (browser.cookies["lt_visitor"], browser.cookies["lt_partner"]) == (visitor_id, partner_id)
    later = Browser(run, {"lt_visitor": visitor_id, "lt_partner": partner_id})
    told = later.told(later.send(f"{livechat}signup/", **{**TRIAL, "email": "later@example.com"}))[0]
    assert (told["visitor_id"], told["partner_id"]) == (visitor_id, partner_id) and "lt" not in told
    for lt in ("x" * 44, "A" * 44, "short"):
        broken = Browser(run)
        broken.ask("GET", f"{livechat}?a={partner_id}&lt={lt}")
        told = broken.told(broken.send(f"{livechat}signup/", **{**TRIAL, "email": f"{lt[:5]}@example.com"}))[0]
        assert told["partner_id"] == partner_id


def test_the_sites_have_hosts_and_headers_of_their_own(run: Run) -> None:
    livechat, partners = sites(run)
    page = Browser(run).ask("GET", livechat)
    policy = page.headers["Content-Security-Policy"] or ""
    assert f"script-src 'self' {tracker(run)};" in policy
    assert "unsafe" not in policy
    assert Browser(run).ask("GET", f"{partners}nothing-here").status == 404
    assert run.get("sites", "/")[0] == 404
    assert livechat.encode() in run.get("sites", "/", Host="localhost")[2]


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:
    """Chromium: the system's, else the one that playwright installed."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


def person(chromium: playwright.Browser, complaints: list[str]) -> playwright.Page:
    """A fresh browser window; what it complains about on its console goes to `complaints`. Headless Chromium would be
    taken for the program that it is."""
    page = chromium.new_context(user_agent=BROWSER).new_page()
    page.set_default_timeout(10_000)
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def test_partner_ids_travel_from_site_to_site_and_both_tiers_earn(run: Run, chromium: playwright.Browser) -> None:
    """A's LiveChat link, a hyperlink to the partner site, and a join as B; then B's link, a signup and a payment."""
    recruiter_id = PARTNERS[0].partner_id
    complaints: list[str] = []
    joining = person(chromium, complaints)
    joining.goto(f"{tracker(run)}/a/{recruiter_id}")
    assert urlsplit(joining.url).hostname == "livechat.localhost"
    joining.get_by_role("link", name="Partners", exact=True).click()
    joining.wait_for_url("http://partners.localhost:*/**")
    joining.get_by_role("link", name="Become a partner", exact=True).first.click()
    joining.get_by_label("Name").fill("Bea")
    joining.get_by_label("E-mail").fill("bea@example.com")
    joining.get_by_role("button", name="Join").click()
    partner_id = joining.locator("#partner").inner_text()
    link = joining.locator("[data-product=livechat][data-kind=short]").inner_text()
    answered = json.loads(joining.get_by_label("The answer").inner_text())
    assert answered["recruiter_id"] == recruiter_id

    buying = person(chromium, complaints)
    buying.goto(link)
    buying.get_by_role("link", name="Pricing").click()
    buying.get_by_role("link", name="Try Team").click()
    buying.get_by_label("Company").fill("Kite & Co")
    buying.get_by_label("E-mail").fill("kite@example.com")
    buying.get_by_role("button", name="Start the trial").click()
    told = json.loads(buying.get_by_label("What was told").inner_text())
    assert told["visitor_id"] and "lt" not in told, "linker.js filled the form in"
    buying.get_by_role("button", name="Example: pay $29.00 now").click()
    buying.get_by_role("cell", name="$29.00").wait_for()
    until("all is attributed", SOON_SECONDS, lambda: run.pipeline()["attributed"])
    lines = json.loads(run.get("app", f"/v2/admin/commissions?license_id={told['license_id']}")[2])["items"]
    earned = {(line["partner_id"], line["tier"]): line["amount_cents"] for line in lines}
    assert earned == {(partner_id, 1): 580, (recruiter_id, 2): 145}
    assert complaints == []
    joining.context.close()
    buying.context.close()


def test_the_site_that_asks_keeps_nothing_before_the_answer(run: Run, chromium: playwright.Browser) -> None:
    livechat, _ = sites(run)
    complaints: list[str] = []
    page = person(chromium, complaints)
    page.goto(f"{tracker(run)}/a/{PARTNERS[0].partner_id}?to=/eu/pricing/")

    def kept() -> set[str]:
        return {str(cookie.get("name")) for cookie in page.context.cookies(livechat)}

    assert kept() == set()
    page.get_by_role("button", name="Yes, keep it").click()
    until("the referral is kept", SOON_SECONDS, lambda: {"lt_visitor", "lt_partner", "site_consent"} <= kept())
    assert page.get_by_role("region", name="Cookies").is_hidden()
    page.get_by_role("button", name="Cookie settings").click()
    page.get_by_role("button", name="No", exact=True).click()
    until("it is forgotten", SOON_SECONDS, lambda: kept() == {"site_consent"})
    assert complaints == []
    page.context.close()


def test_the_pages_fit_a_phone_and_are_labelled(run: Run, chromium: playwright.Browser) -> None:
    livechat, partners = sites(run)
    complaints: list[str] = []
    page = person(chromium, complaints)
    page.set_viewport_size({"width": 360, "height": 800})
    paths = {
        livechat: ("", "pricing/", "features/help-widget/", "signup/", "eu/signup/"),
        partners: ("", "how-it-works/", "stories/a-year-of-reviews/", "join/"),
    }
    for site, path in ((site, path) for site, all_paths in paths.items() for path in all_paths):
        page.goto(site + path)
        assert page.get_by_text("Example site.").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.locator("main").count() == page.locator("h1").count() == 1
        nameless = """() => [...document.querySelectorAll("input:not([type=hidden]), select, button, a")]
            .filter(one => !(one.labels?.length || one.textContent.trim())).map(one => one.outerHTML)"""
        assert page.evaluate(nameless) == [], path
    page.goto(f"{livechat}pricing/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert complaints == []
    page.context.close()


def test_the_example_agrees_with_itself_and_stops(run: Run) -> None:
    assert run.cli("audit").returncode == 0
    assert run.stop() == 0


def test_the_example_leaves_facts_of_others_alone(tmp_path: Path, empty_redis_url: str) -> None:
    client = redis.Redis.from_url(empty_redis_url)
    client.hset(redis_keys.FACT_COUNTS, "accepted", "1")
    with pytest.raises(SettingError, match="holds facts that are not the example's"):
        example_program.claim(tmp_path, empty_redis_url)
    assert not client.exists(redis_keys.DEMO)
    client.delete(redis_keys.FACT_COUNTS)
    example_program.claim(tmp_path, empty_redis_url)
    client.hset(redis_keys.FACT_COUNTS, "accepted", "1")
    example_program.claim(tmp_path, empty_redis_url)
    assert client.exists(redis_keys.DEMO)
    client.close()


def test_the_example_can_be_imported_again_to_the_letter() -> None:
    ends_at = 1_790_000_000_000
    facts = history(example_program.SEED, ends_at)
    assert facts == history(example_program.SEED, ends_at)
    reading = Reading(Program(), ends_at)
    for fact in facts:
        assert read_body(fact["type"], fact, reading).ignored == ()
    kinds = {fact.get("kind") or fact.get("payment_origin") or fact["type"] for fact in facts}
    assert kinds >= {"click", "partner", "signup", "client", "license_transfer", "payment", "refund", "chargeback_won"}
    assert kinds >= {"suspended", "reinstated", "rate_changed", "blocked", "unblocked", "expired"}
