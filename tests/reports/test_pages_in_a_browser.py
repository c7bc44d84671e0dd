"""A real browser: signing in, copying, unfolding a chain, with and without JavaScript, and how pages fit a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import world
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from running_app import ADMIN_TOKEN, App

from tracker import redis_keys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
PAGES = {
    "P": ("/partner/", "/partner/links", "/partner/campaigns", "/partner/links/check",
          "/partner/links/check?link=localhost:8000/a/P?lt=x", "/partner/clicks", "/partner/licenses",
          "/partner/licenses/L1", "/partner/commissions", "/partner/withdrawals", "/partner/withdrawals/new",
          "/partner/billing", "/partner/tokens"),
    "admin": ("/admin/", "/admin/partners", "/admin/commissions", "/admin/licenses/L2", "/admin/tokens", "/admin/links",
              "/admin/deliveries", "/admin/partners/P/"),
    "marketing": ("/marketing/funnel?group_by=week", "/marketing/funnel?group_by=partner",
                  "/marketing/models?date_from=2026-01-01", "/marketing/whatif?model=first", "/docs"),
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, else the one that playwright installed."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module", autouse=True)
def directory(app: App) -> None:
    """P as trackers know them."""
    entry = {"joined_at": world.day(2), "name": "P", "email": "e", "email_hash": "h", "recruiter_id": "", "links": {}}
    app.redis.hset(redis_keys.PARTNERS, "P", json.dumps({**entry, "changes": []}))


@pytest.fixture
def complaints() -> list[str]:
    return []


def open_page(browser: Browser, app: App, complaints: list[str], width: int = 1200, **more: Any) -> Page:
    """A fresh browser window. What it complains about on its console is added to `complaints`."""
    base_url = f"http://127.0.0.1:{app.port}"
    context = browser.new_context(viewport={"width": width, "height": 800}, base_url=base_url, **more)
    page = context.new_page()
    page.set_default_timeout(10_000)

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def sign_in(page: Page, token: str) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in with a token").click()
    page.get_by_role("button", name="Sign out").wait_for()


def test_a_partner_signs_in_unfolds_a_chain_and_signs_out(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints, permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, app.tokens["P"])
    assert page.get_by_role("heading", level=1).inner_text() == 'Hello, <script>alert("1")</script>'
    page.get_by_role("link", name="Links").click()
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "http://localhost:8000/lcP"
    page.get_by_role("link", name="Commission").click()
    page.locator("summary").first.click()
    page.get_by_text("Recruited by Q").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    page.goto("/partner/")
    assert page.get_by_role("heading", level=1).inner_text() == "Sign in"
    assert [text for text in complaints if "401" not in text] == []
    page.context.close()


def test_everything_works_without_javascript(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints, java_script_enabled=False)
    sign_in(page, app.tokens["P"])
    page.get_by_role("link", name="Commission", exact=True).click()
    page.locator("summary").first.click()
    page.get_by_role("link", name="Why this line is here").first.click()
    assert page.get_by_text("Recruited by Q").is_visible()
    page.get_by_role("link", name="Links").click()
    assert page.get_by_role("button", name="Copy").count() == 0
    page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_pages_fit_and_are_labelled(browser: Browser, app: App, complaints: list[str], width: int, scheme: str) -> None:
    for who, paths in PAGES.items():
        page = open_page(browser, app, complaints, width, color_scheme=scheme)
        sign_in(page, ADMIN_TOKEN if who == "admin" else app.tokens[who])
        for path in paths:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than {width}"
            assert page.locator("main").count() == page.locator("h1").count() == 1
            nameless = page.evaluate(
                """() => [...document.querySelectorAll("input:not([type=hidden]), select, button, a")]
                    .filter(one => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()
                                     || one.hidden)).map(one => one.outerHTML)"""
            )
            assert nameless == [], path
            assert page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0
            assert contrast_of(page) >= 4.5, path
        page.context.close()
    assert complaints == []


def test_a_link_is_checked_by_keyboard_and_its_qr_code_shows(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints)
    sign_in(page, app.tokens["P"])
    page.goto("/partner/links")
    page.get_by_label("Link to check").focus()
    page.keyboard.type("http://localhost:8000/a/P?to=/pricing/")
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "A click on it counts for you."
    picture = page.get_by_role("img", name="QR code of http://localhost:8000/a/P?to=/pricing/")
    assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 0
    with page.expect_download() as download:
        page.get_by_role("link", name="as PNG").click()
    assert download.value.suggested_filename == "qr-P.png"
    assert complaints == []
    page.context.close()


def test_a_campaign_is_started_and_switched_off(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints, width=360)
    sign_in(page, app.tokens["P"])
    page.goto("/partner/campaigns")
    page.get_by_label("Name").fill("Summer video, 20 % off <b>")
    page.get_by_label("Trial, in days").fill("30")
    page.get_by_role("button", name="Start it").click()
    assert (
        page.get_by_role("status").inner_text() == "“Summer video, 20 % off <b>” has started. Its link works at once."
    )
    assert page.get_by_role("cell", name="30-day trial").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Switch Summer video").click()
    assert "switched off" in page.get_by_role("status").inner_text()
    assert complaints == []
    page.context.close()


def test_a_partner_is_paid_by_keyboard_alone(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints, width=360)
    sign_in(page, app.tokens["P"])
    page.goto("/partner/withdrawals")
    assert "A withdrawal is $50.00 or more: $46.20 is missing." in page.locator("main").inner_text()
    assert page.get_by_text("No withdrawals yet").is_visible()
    world.load(app.warehouse, world.paid("big", "L1", 39, 40_000), load_id=2)
    page.reload()
    page.get_by_role("link", name="Save billing details").press("Enter")
    page.get_by_label("You are paid as").press("ArrowDown")
    for label, text in (
        ("Company, or your full name", "Zoë Example"), ("Address", "1 Street"), ("City", "Wrocław"),
        ("Country", "p1"), ("PayPal e-mail", "pay@example.com"),
    ):  # fmt: skip
        page.get_by_label(label).focus()
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Nothing was saved: what is not right is said beside it."
    country = page.get_by_label("Country")
    assert country.get_attribute("aria-invalid") == "true"
    assert (
        page.locator(f"#{country.get_attribute('aria-describedby')}").inner_text() == "Must be two letters, such as PL."
    )
    assert page.get_by_label("City").input_value() == "Wrocław", "what was right is kept"
    country.fill("pl")
    country.press("Enter")
    assert page.get_by_role("status").inner_text() == "Your billing details are saved."
    page.get_by_role("link", name="Ask for $83.80 …").press("Enter")
    assert page.get_by_role("heading", level=1).inner_text() == "Ask for $83.80?"
    assert "pay@example.com" in page.locator(".terms").inner_text()
    world.load(app.warehouse, world.paid("more", "L1", 39, 5000), load_id=3)
    page.get_by_role("button", name="Yes, ask for it").press("Enter")
    said = page.get_by_role("alert").inner_text()
    assert said == "93.80 USD is available by now, not 83.80 USD. Nothing was asked for."
    page.get_by_role("link", name="Ask for $93.80 …").press("Enter")
    page.get_by_role("button", name="Yes, ask for it").press("Enter")
    assert (
        page.get_by_role("status")
        .inner_text()
        .startswith("You asked for $93.80. Finance pays invoice 2026/2/P to pay@")
    )
    assert page.get_by_role("cell", name="Waits for finance").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.goto("/partner/withdrawals/new")
    assert page.get_by_role("button", name="Yes").count() == 0, "what was asked for is not there any more"
    assert [text for text in complaints if "400" not in text and "409" not in text] == []
    page.context.close()


def test_a_token_is_made_used_and_revoked_without_javascript(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints, java_script_enabled=False)
    sign_in(page, app.tokens["P"])
    page.get_by_role("link", name="API tokens").click()
    page.get_by_label("Label").fill("Reports <b>")
    page.get_by_label("Works for").select_option("90 days")
    page.get_by_role("button", name="Make token").click()
    assert "shown only this once" in page.get_by_role("status").inner_text()
    secret = page.locator("#secret").inner_text()
    assert app.get("/v2/partners/balance", secret).status == 200
    page.get_by_role("link", name="API tokens").click()
    assert secret not in page.content()
    row = page.get_by_role("row", name="Reports <b>")
    assert f"lt_p_…{secret[-4:]}" in row.inner_text() and "11 May 2026" in row.inner_text()
    assert "Never" not in row.inner_text()
    page.get_by_label("Label").fill("Reports <b>")
    page.get_by_role("button", name="Make token").click()
    assert "choose another label" in page.get_by_role("alert").inner_text()
    row.locator("summary").click()
    row.get_by_role("button", name="Yes, revoke Reports").click()
    assert "revoked" in page.get_by_role("status").inner_text()
    assert app.get("/v2/partners/balance", secret).status == 401
    page.context.close()


def contrast_of(page: Page) -> float:
    """The least contrast (WCAG 2.1) of soft text against the card and the ground that it stands on."""
    ratio: float = page.evaluate(
        """() => {
            const light = (color) => {
                const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
                    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const probe = document.body.appendChild(document.createElement("span"));
            const value = (name) => { probe.setAttribute("class", name); return getComputedStyle(probe); };
            const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            const pairs = [
                [value("soft").color, getComputedStyle(document.body).backgroundColor],
                [value("soft").color, value("card").backgroundColor],
                [value("badge good").color, value("badge good").backgroundColor],
                [value("badge bad").color, value("badge bad").backgroundColor],
                [value("badge warn").color, value("badge warn").backgroundColor],
                [value("button").color, value("button").backgroundColor],
                [value("minus").color, value("card").backgroundColor],
            ].map(([ink, ground]) => ratio(light(ink), light(ground)));
            probe.remove();
            return Math.min(...pairs);
        }"""
    )
    return ratio


def test_the_keyboard_reaches_the_content(browser: Browser, app: App, complaints: list[str]) -> None:
    page = open_page(browser, app, complaints)
    sign_in(page, app.tokens["P"])
    page.goto("/partner/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.context.close()
