"""linker.js in a real browser, on real hosts, against a real tracker. Third-party cookies are off throughout."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tests.harness import BROWSER, ROOT, Journey, Server, serving
from tests.program_sites import HOSTS, Arrival, ProgramSites, program_sites
from tracker.visitors import make_stamp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--test-third-party-cookie-phaseout"]  # fmt: skip
TRACKER_HOST = "go.localhost"
DAYS_120 = 120 * 86_400


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def sites() -> Iterator[ProgramSites]:
    with program_sites() as running:
        yield running


@pytest.fixture(scope="module")
def server(sites: ProgramSites) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lt-linker-") as folder:
        program = str(sites.write_program(Path(folder)))
        for running in serving(Path(folder), workers=1, environ={"LASTTOUCH_PROGRAM": program}):
            sites.tracker_url = f"http://{TRACKER_HOST}:{running.tracker_port}"
            yield running


class Visit:
    """A person's browser profile on the program's sites."""

    def __init__(self, context: BrowserContext, sites: ProgramSites, journey: Journey) -> None:
        self.context = context
        self.sites = sites
        self.journey = journey
        self.touches: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.errors: list[str] = []
        self._asked: Any = None
        self._answered: Any = None
        context.on("request", self._note)
        context.on("response", self._hear)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.page = self.tab()

    def _note(self, request: Any) -> None:
        if request.url.endswith("/touch"):
            self.touches.append(request.post_data_json)
            self._asked = request

    def _hear(self, response: Any) -> None:
        if response.url.endswith("/touch"):
            self.said.append(response.headers.get("x-lasttouch", str(response.status)))
            self._answered = response.request

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(5000)
        return page

    def follow(self, partner: str, product: str = "", more: str = "", page: Page | None = None) -> None:
        """Follow a partner's redirect link to its end."""
        path = f"/a/{self.journey.id(partner)}" + (f"/{product}" if product else "") + more
        (page or self.page).goto(f"{self.sites.tracker_url}{path}")
        self.settle()

    def land(self, url: str) -> None:
        self.page.goto(url)
        self.settle()

    def settle(self) -> None:
        """Until the tracker has said who the visitor is. A page that was left may never hear it."""
        self.wait("answer of the tracker", lambda: self._asked is self._answered)

    def wait(self, what: str, ready: Callable[[], Any]) -> Any:
        """The first true value of `ready`, while the browser goes on."""
        deadline = time.monotonic() + 10
        while not (value := ready()):
            assert time.monotonic() < deadline, f"no {what} within ten seconds"
            self.page.wait_for_timeout(10)
        return value

    def id(self, page: Page | None = None) -> str | None:
        found: str | None = (page or self.page).evaluate("lasttouch.visitorId()")
        return found

    def partner(self, page: Page | None = None) -> str | None:
        found: str | None = (page or self.page).evaluate("lasttouch.partnerId()")
        return found

    def cookies(self, site: str = "livechat") -> dict[str, Any]:
        return {one["name"]: one for one in self.context.cookies() if one["domain"] == HOSTS[site]}

    def arrival(self, path: str, act: Callable[[], object]) -> Arrival:
        """What the sites saw at `path` after `act`, once the page is there."""
        before = len(self.sites.arrivals)
        act()

        def came() -> tuple[Arrival, Page] | None:
            arrivals = [one for one in self.sites.arrivals[before:] if one.path == path]
            pages = [page for page in self.context.pages if urlsplit(page.url).path == path]
            return (arrivals[0], pages[0]) if arrivals and pages else None

        arrival, page = self.wait(f"arrival at {path}", came)
        page.wait_for_load_state()
        assert isinstance(arrival, Arrival)
        return arrival

    def sign_up(self, name: str) -> dict[str, Any]:
        """Send the site's signup form; its server calls the Conversions API with what the form has."""
        form = self.arrival("/signup", lambda: self.page.click("#signup-button")).form
        given = {"visitor_id": form["lt_visitor"] or None, "partner_id": form["lt_partner"] or None}
        found: dict[str, Any] = self.journey.sign_up(name, **given)["attribution"]
        return found


@pytest.fixture
def visits(browser: Browser, sites: ProgramSites, server: Server) -> Iterator[Callable[..., Visit]]:
    """Makes profiles of a story in which A and B are partners."""
    journey = Journey(server)
    journey.join("A")
    journey.join("B")
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> Visit:
        contexts.append(browser.new_context(user_agent=BROWSER, **options))
        return Visit(contexts[-1], sites, journey)

    sites.pages.clear()
    sites.attributes.clear()
    sites.keep = None
    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def visit(visits: Callable[..., Visit]) -> Visit:
    return visits()


def stamped(arrival: Arrival) -> bool:
    return "a" in arrival.query and len(arrival.query.get("lt", "")) == 44


# ── Landing ───────────────────────────────────────────────────────────────────────────────────────


def test_a_redirect_lands_once_and_leaves_a_clean_address(visit: Visit) -> None:
    visit.follow("A", more="?utm_x=%20y&gclid=1&lt=forged&to=/deep%23part")
    a = visit.journey.id("A")
    assert visit.page.url == visit.sites.url("livechat", "/deep") + f"?utm_x=%20y&gclid=1&utm_source=PP&a={a}#part"
    tracker_cookies = [one for one in visit.context.cookies() if one["domain"] == TRACKER_HOST]
    assert [(one["name"], one["value"]) for one in tracker_cookies] == [("lt_vid", visit.id())]
    assert (visit.partner(), visit.said) == (a, ["stamped"])
    cookies = visit.cookies()
    assert {name: one["value"] for name, one in cookies.items() if name != "lt_stamp"} == {
        "lt_visitor": visit.id(),
        "lt_partner": a,
    }
    for name, seconds in (("lt_visitor", DAYS_120), ("lt_partner", DAYS_120), ("lt_stamp", 86_400)):
        assert cookies[name]["expires"] == pytest.approx(time.time() + seconds, abs=60)
        assert (cookies[name]["sameSite"], cookies[name]["path"], cookies[name]["httpOnly"]) == ("Lax", "/", False)
    visit.page.reload()
    visit.page.click("#same")
    visit.page.go_back()
    assert visit.said == ["stamped"], "what the redirect counted is counted once"
    assert visit.errors == []


def test_every_landing_begins_the_window_anew(visit: Visit) -> None:
    visit.follow("A")
    for name in ("lt_visitor", "lt_partner"):
        value = visit.cookies()[name]["value"]
        url, soon = visit.sites.url("livechat"), time.time() + 60
        visit.context.add_cookies([{"name": name, "value": value, "url": url, "expires": soon}])
    visit.follow("A")
    for name in ("lt_visitor", "lt_partner"):
        assert visit.cookies()[name]["expires"] == pytest.approx(time.time() + DAYS_120, abs=60)
    assert visit.said == ["stamped"], "who the visitor is was asked before"


def test_a_direct_link_is_a_click_once_per_landing(visit: Visit) -> None:
    a = visit.journey.id("A")
    url = visit.sites.url("livechat", "/", a=a, utm_source="PP", utm_campaign="pp_spring")
    visit.land(url)
    assert [(one["partner_id"], one["url"], one["visitor_id"]) for one in visit.touches] == [(a, url, visit.id())]
    assert visit.page.url == url
    visit.page.reload()
    visit.page.click("#same")
    visit.page.go_back()
    visit.page.go_forward()
    visit.page.evaluate("location.href = '/inner?a=' + lasttouch.partnerId()")
    visit.page.wait_for_url("**/inner?*")
    assert visit.said == ["counted"]
    visit.land(url)
    assert visit.said == ["counted", "counted"], "whoever follows the link again lands again"
    attribution = visit.sign_up("L")
    assert (attribution["partner_id"], attribution["reason"]) == (a, "last_touch")


def test_a_page_that_one_comes_back_to_lands_no_second_time(visit: Visit) -> None:
    visit.land(visit.sites.url("livechat", "/", a=visit.journey.id("A")))
    visit.page.goto(visit.sites.url("foreign"))
    visit.page.go_back()
    assert visit.partner() == visit.journey.id("A")
    assert visit.said == ["counted"]


def test_an_unknown_partner_takes_nobodys_place(visit: Visit) -> None:
    visit.follow("A")
    visit.land(visit.sites.url("livechat", "/", a="Nobody"))
    assert visit.said == ["stamped", "unknown-partner"]
    assert visit.partner() == visit.journey.id("A")
    assert visit.sign_up("L")["partner_id"] == visit.journey.id("A")


def test_two_tabs_with_two_partners_and_the_last_click_wins(visit: Visit) -> None:
    visit.follow("A")
    second = visit.tab()
    visit.follow("B", page=second)
    assert visit.partner() == visit.partner(second) == visit.journey.id("B")
    arrival = visit.arrival("/next", lambda: visit.page.click("#link"))
    assert arrival.query["a"] == visit.journey.id("B")
    visit.page.go_back()
    assert visit.sign_up("L")["partner_id"] == visit.journey.id("B")


def test_a_tracker_whose_cookies_are_blocked(visit: Visit) -> None:
    visit.follow("A")
    first = visit.id()
    visit.context.clear_cookies(domain=TRACKER_HOST)
    visit.follow("B")
    assert (visit.id() == first, visit.said) == (False, ["stamped", "stamped"])
    visit.context.clear_cookies(domain=TRACKER_HOST)
    visit.page.goto(visit.sites.url("livechat", "/later"))
    assert visit.sign_up("L")["partner_id"] == visit.journey.id("B")


def test_a_site_whose_cookies_are_blocked(visit: Visit) -> None:
    visit.context.add_init_script(
        "Object.defineProperty(Document.prototype, 'cookie', {get: () => '', set: () => {}, configurable: true})"
    )
    visit.follow("A")
    assert stamped(visit.arrival("/next", lambda: visit.page.click("#link")))
    visit.page.go_back()
    visit.follow("A")
    assert visit.sign_up("L")["partner_id"] == visit.journey.id("A")
    assert visit.errors == []


def test_without_javascript_the_sites_server_forwards_the_raw_stamp(visits: Callable[..., Visit]) -> None:
    visit = visits(java_script_enabled=False)
    before = len(visit.sites.arrivals)
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    (arrival,) = visit.sites.arrivals[before:]
    attribution = visit.journey.sign_up("L", lt=arrival.query["lt"], partner_id=arrival.query["a"])["attribution"]
    assert (attribution["partner_id"], attribution["reason"]) == (visit.journey.id("A"), "last_touch")


def documented() -> Any:
    """What docs/linker.md gives to servers in Python."""
    page = (ROOT / "docs/linker.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    return names["cookies_to_set"]


def test_a_site_whose_server_keeps_the_visitor(visits: Callable[..., Visit]) -> None:
    """docs/linker.md, Safari: a cookie that a script wrote would live for days."""
    visit, copying, without = visits(), visits(), visits(java_script_enabled=False)
    visit.sites.keep = documented()
    without.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    kept = without.cookies()
    (tracker_cookie,) = [one["value"] for one in without.context.cookies() if one["domain"] == TRACKER_HOST]
    assert (kept["lt_visitor"]["value"], kept["lt_visitor"]["httpOnly"]) == (tracker_cookie, False)
    assert kept["lt_partner"]["expires"] == pytest.approx(time.time() + DAYS_120, abs=60)
    visit.follow("A")
    mine = visit.id()
    assert mine == next(one["value"] for one in visit.context.cookies() if one["name"] == "lt_vid")
    arrival = visit.arrival("/next", lambda: visit.page.click("#link"))
    visit.settle()
    assert (visit.id(), visit.said) == (mine, ["stamped", "stamped"])
    copying.land(visit.sites.url("partners", "/next", **arrival.query))
    assert copying.id() not in (mine, None)
    assert (copying.partner(), copying.said) == (visit.journey.id("A"), ["counted"])


def test_a_visitor_who_travels_days_later_has_a_fresh_stamp(visit: Visit) -> None:
    visitor = str(uuid.uuid4())
    for name, value in (("lt_visitor", visitor), ("lt_partner", visit.journey.id("A"))):
        visit.context.add_cookies([{"name": name, "value": value, "url": visit.sites.url("livechat")}])
    visit.page.goto(visit.sites.url("livechat"))
    visit.wait("fresh stamp", lambda: "lt_stamp" in visit.cookies())
    arrival = visit.arrival("/next", lambda: visit.page.click("#link"))
    visit.settle()
    assert stamped(arrival) and (visit.id(), visit.said) == (visitor, ["stamped"])


def test_cookies_for_a_domain_are_withdrawn_as_well(visit: Visit) -> None:
    visit.sites.attributes["/"] = f' data-cookie-domain="{HOSTS["livechat"]}"'
    visit.follow("A")
    assert {one["domain"] for one in visit.context.cookies() if one["name"] == "lt_visitor"} == {".livechat.localhost"}
    visit.page.goto(visit.sites.url("livechat", "/later"))
    assert visit.partner() == visit.journey.id("A")
    visit.page.evaluate("lasttouch.consent(false)")
    assert [one["name"] for one in visit.context.cookies()] == ["lt_vid"]


@pytest.mark.parametrize("signal", ["globalPrivacyControl: true", "doNotTrack: '1'"])
def test_who_asks_not_to_be_followed_is_not(visit: Visit, signal: str) -> None:
    name, _, value = signal.partition(": ")
    visit.context.add_init_script(f"Object.defineProperty(Navigator.prototype, '{name}', {{get: () => {value}}})")
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    assert "lt=" not in visit.page.url
    visit.page.evaluate("lasttouch.consent(true)")
    assert (visit.id(), visit.partner(), visit.touches, visit.cookies()) == (None, None, [], {})
    assert not visit.arrival("/next", lambda: visit.page.click("#link")).query.keys() & {"a", "lt"}


# ── Ways to follow a link ─────────────────────────────────────────────────────────────────────────


def click(selector: str, **how: Any) -> Callable[[Visit], None]:
    return lambda visit: visit.page.click(selector, **how)


def press(selector: str, key: str = "Enter") -> Callable[[Visit], None]:
    return lambda visit: visit.page.press(selector, key)


def point(selector: str) -> Callable[[Visit], None]:
    """A click at the middle of an element, whatever is in front of it."""

    def act(visit: Visit) -> None:
        box = visit.page.locator(selector).bounding_box()
        assert box is not None
        visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    return act


def run(script: str) -> Callable[[Visit], None]:
    def act(visit: Visit) -> None:
        visit.page.evaluate(script.replace("PARTNERS", visit.sites.url("partners").rstrip("/")))

    return act


ADDED_LATER = "document.body.insertAdjacentHTML('beforeend', '<a id=new href=\"PARTNERS/next\"><b>new</b></a>')"
SHADOW = """const host = document.body.appendChild(document.createElement("div")).attachShadow({mode: "open"});
    host.innerHTML = '<a id=deep href="PARTNERS/next">deep</a><form method=post action="PARTNERS/form"><input name=q>' +
        '<input name=lt_visitor><button id=deep-button>go</button></form>';"""
SVG = """document.body.insertAdjacentHTML("beforeend",
    '<svg width=99 height=99><a href="PARTNERS/next"><rect id=svg width=99 height=99 /></a></svg>')"""
AREA = """document.body.insertAdjacentHTML("beforeend", '<img usemap="#m" width=99 height=99><map name=m>' +
    '<area id=area shape=rect coords=0,0,99,99 href="PARTNERS/next"></map>')"""
LINKS: dict[str, list[Callable[[Visit], None]]] = {
    "mouse": [click("#link")],
    "middle click": [click("#link", button="middle")],
    "ctrl-click": [click("#link", modifiers=["Control"])],
    "shift-click": [click("#link", modifiers=["Shift"])],
    "keyboard": [press("#link")],
    "new tab": [click("#blank")],
    "no referrer": [click("#noreferrer")],
    "added later": [run(ADDED_LATER), click("#new b")],
    "shadow DOM": [run(SHADOW), click("#deep")],
    "shadow DOM, keyboard": [run(SHADOW), press("#deep")],
    "SVG": [run(SVG), click("#svg")],
    "image map": [run(AREA), point("img[usemap]")],
    "click()": [run("document.querySelector('#link').click()")],
    "page code": [run("location = lasttouch.decorate('PARTNERS/next')")],
    "window.open": [run("lasttouch.open('PARTNERS/next', '_blank', 'noopener')")],
    "page code that waits": [
        run(
            "addEventListener('click', (e) => { e.preventDefault(); setTimeout(() => location = e.target.href, 200) })"
        ),
        click("#link"),
    ],
}
FORMS: dict[str, list[Callable[[Visit], None]]] = {
    "GET": [click("#get-button")],
    "GET, keyboard": [press("#get input")],
    "GET, submit()": [run("document.querySelector('#get').submit()")],
    "GET, requestSubmit()": [run("document.querySelector('#get').requestSubmit()")],
    "POST": [click("#post button")],
    "POST, requestSubmit()": [run("document.querySelector('#post').requestSubmit()")],
    "POST, submit()": [run("document.querySelector('#post').submit()")],
    "POST, formaction": [
        run("document.querySelector('#signup-button').setAttribute('formaction', 'PARTNERS/form')"),
        click("#signup-button"),
    ],
    "POST, shadow DOM": [run(SHADOW), click("#deep-button")],
    "added later": [
        run("""document.body.append(Object.assign(document.createElement("form"),
            {action: "PARTNERS/form", innerHTML: "<button id=late>go</button>"}))"""),
        click("#late"),
    ],
}


@pytest.fixture(scope="module")
def travelling(browser: Browser, sites: ProgramSites, server: Server) -> Iterator[Visit]:
    """A visitor of A's on the LiveChat site."""
    journey = Journey(server)
    journey.join("A")
    context = browser.new_context(user_agent=BROWSER)
    visit = Visit(context, sites, journey)
    visit.follow("A")
    yield visit
    context.close()


@pytest.mark.parametrize("way", LINKS)
def test_a_link_to_another_site_of_the_program_carries_the_partner(travelling: Visit, way: str) -> None:
    travelling.page.goto(travelling.sites.url("livechat"))
    visitor = travelling.id()

    def act() -> None:
        for step in LINKS[way]:
            step(travelling)

    arrival = travelling.arrival("/next", act)
    assert (arrival.site, arrival.query["a"], stamped(arrival)) == ("partners", travelling.journey.id("A"), True)
    for page in travelling.context.pages:
        page.wait_for_load_state()
        if HOSTS["partners"] in page.url:
            travelling.settle()
            assert travelling.id(page) == visitor
        if page is not travelling.page:
            page.close()
    assert travelling.errors == []


@pytest.mark.parametrize("way", FORMS)
def test_a_form_to_another_site_of_the_program_carries_the_partner(travelling: Visit, way: str) -> None:
    travelling.page.goto(travelling.sites.url("livechat"))

    def act() -> None:
        for step in FORMS[way]:
            step(travelling)

    arrival = travelling.arrival("/form", act)
    assert (arrival.site, arrival.method) == ("partners", way[:4].strip(",") if way[0].isupper() else "GET")
    sent = arrival.form if way == "POST, submit()" else arrival.query
    assert (sent["a"], len(sent["lt"])) == (travelling.journey.id("A"), 44)
    assert {"a", "lt"} & arrival.form.keys() == ({"a", "lt"} if sent is arrival.form else set())
    assert arrival.form.get("lt_visitor", travelling.id()) == travelling.id()
    assert travelling.errors == []


@pytest.mark.parametrize(
    ("selector", "path"),
    [("#same", "/same"), ("#foreign", "/next"), ("#affiliate", "/next"), ("#elsewhere-button", "/form")],
)
def test_all_other_links_are_left_alone(travelling: Visit, selector: str, path: str) -> None:
    travelling.page.goto(travelling.sites.url("livechat"))
    arrival = travelling.arrival(path, lambda: travelling.page.click(selector))
    assert "lt" not in arrival.query
    assert arrival.query.get("a") == ("Somebody" if selector == "#affiliate" else None)


def test_an_address_is_as_it_was_soon_after_and_a_copied_one_has_no_stamp(travelling: Visit) -> None:
    page = travelling.page
    page.goto(travelling.sites.url("livechat"))
    href = "document.querySelector('#link').getAttribute('href')"
    before = page.evaluate(href)
    page.click("#link", button="right")
    partner = travelling.journey.id("A")
    assert page.evaluate(href) == f"{travelling.sites.url('partners')}next?x=%20y&z&a={partner}#part"
    page.wait_for_timeout(1100)
    assert page.evaluate(href) == before
    page.click("#link", modifiers=["Control"])
    assert "lt=" in page.evaluate(href)
    page.wait_for_timeout(1100)
    assert page.evaluate(href) == before


def test_page_code_gets_an_address_with_all_that_was_in_it(travelling: Visit) -> None:
    page = travelling.page
    page.goto(travelling.sites.url("livechat"))
    partners = travelling.sites.url("partners")
    for url in ("mailto:a@b.example", "javascript:void 0", "https://partners.localhost.evil.example/",
                f"https://{HOSTS['partners']}@evil.example/", "//evil.example", "http://[", "/same", ""):  # fmt: skip
        assert page.evaluate("(url) => lasttouch.decorate(url)", url) == url
    decorated = page.evaluate("(url) => lasttouch.decorate(url)", f"{partners}?b=%2B+x&lt=old&c#d?a=1")
    assert re.fullmatch(
        re.escape(f"{partners}?b=%2B+x&c&a={travelling.journey.id('A')}&lt=") + r"[\w-]{44}#d\?a=1", decorated
    )


# ── Consent ───────────────────────────────────────────────────────────────────────────────────────

ASKS = ' data-consent="required"'


def waiting(visit: Visit) -> None:
    """Nothing is kept, told or asked."""
    assert (visit.id(), visit.partner(), visit.cookies(), visit.cookies("partners"), visit.touches) == (
        None, None, {}, {}, [],
    )  # fmt: skip
    assert visit.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


def test_a_referral_waits_for_consent_in_the_address_alone(visit: Visit) -> None:
    visit.sites.attributes["/"] = ASKS
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    (tracker_cookie,) = visit.context.cookies()
    waiting(visit)
    visit.page.reload()
    visit.page.click("#anchor")
    assert stamped(visit.arrival("/same", lambda: visit.page.click("#same")))
    visit.page.wait_for_url("**/same*")
    waiting(visit)
    assert stamped(visit.arrival("/next", lambda: visit.page.click("#link")))
    visit.page.wait_for_url("**/next*")
    assert stamped(visit.arrival("/back", lambda: visit.page.click("#back")))
    visit.page.wait_for_url("**/back*")
    waiting(visit)
    visit.page.evaluate("lasttouch.consent(true)")
    visit.settle()
    assert (visit.id(), visit.partner()) == (tracker_cookie["value"], visit.journey.id("A"))
    assert visit.said == ["stamped"]
    assert "lt=" not in visit.page.url
    assert set(visit.cookies()) == {"lt_visitor", "lt_partner", "lt_stamp"}
    visit.page.goto(visit.sites.url("livechat", "/later"))
    assert visit.id() == tracker_cookie["value"], "who said yes is not asked by every page"
    assert visit.sign_up("L")["reason"] == "last_touch"


def test_a_direct_link_waits_for_consent_and_is_one_click(visit: Visit) -> None:
    visit.sites.attributes["/"] = ASKS
    visit.page.goto(visit.sites.url("livechat", "/", a=visit.journey.id("A"), utm_campaign="pp_spring"))
    visit.page.reload()
    arrival = visit.arrival("/same", lambda: visit.page.click("#same"))
    assert arrival.query == {"x": "1", "utm_campaign": "pp_spring", "a": visit.journey.id("A")}
    visit.page.wait_for_url("**/same*")
    waiting(visit)
    visit.page.evaluate("lasttouch.consent(true)")
    visit.settle()
    visit.page.reload()
    visit.page.evaluate("lasttouch.consent(true)")
    assert visit.said == ["counted"]
    assert visit.sign_up("L")["partner_id"] == visit.journey.id("A")


def test_a_refusal_drops_the_referral(visit: Visit) -> None:
    visit.sites.attributes["/"] = ASKS
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    visit.page.evaluate("lasttouch.consent(false)")
    assert "lt=" not in visit.page.url
    waiting(visit)
    visit.page.evaluate("lasttouch.consent(true)")
    waiting(visit)
    assert "lt" not in visit.arrival("/next", lambda: visit.page.click("#link")).query


def test_a_withdrawal_deletes_what_was_kept(visit: Visit) -> None:
    visit.follow("A")
    assert visit.page.evaluate("document.querySelector('[name=lt_visitor]').value") == visit.id()
    visit.page.evaluate("lasttouch.consent(false)")
    assert (visit.id(), visit.partner(), visit.cookies()) == (None, None, {})
    assert visit.page.evaluate("document.querySelector('[name=lt_visitor]').value") == ""
    assert not visit.arrival("/next", lambda: visit.page.click("#link")).query.keys() & {"a", "lt"}


# ── Copies, forgeries and hostile pages ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["of a redirect", "of a hyperlink", "never followed"])
def test_a_copied_address_makes_two_people_two_visitors(visits: Callable[..., Visit], kind: str) -> None:
    first, second = visits(), visits()
    before = len(first.sites.arrivals)
    first.follow("A")
    if kind == "of a redirect":
        arrival = first.sites.arrivals[before]
    elif kind == "of a hyperlink":
        arrival = first.arrival("/next", lambda: first.page.click("#link"))
        first.settle()
    copy = (
        first.page.evaluate("(url) => lasttouch.decorate(url)", first.sites.url("partners", "/next"))
        if kind == "never followed"
        else first.sites.url(arrival.site, arrival.path, **arrival.query)
    )
    mine = first.id()
    second.land(copy)
    assert second.id() != mine
    assert second.partner() == first.journey.id("A")
    assert second.said == ["counted"], "a direct link's landing"
    second.follow("B")
    assert first.sign_up("L1")["partner_id"] == first.journey.id("A")
    assert second.sign_up("L2")["partner_id"] == first.journey.id("B")


def test_of_two_visitors_that_a_person_was_the_last_click_wins(visit: Visit) -> None:
    """Each site saw a direct link of its own, and a hyperlink joins them."""
    visit.land(visit.sites.url("partners", "/", a=visit.journey.id("A")))
    partners_visitor = visit.id()
    visit.land(visit.sites.url("livechat", "/", a=visit.journey.id("B")))
    livechat_visitor = visit.id()
    assert livechat_visitor != partners_visitor
    visit.page.goto(visit.sites.url("partners"))
    visit.page.click("#back")
    visit.page.wait_for_url("**/back*")
    visit.wait("answer", lambda: visit.said == ["counted", "counted", "kept"])
    assert (visit.id(), visit.partner()) == (livechat_visitor, visit.journey.id("B"))
    visit.page.click("#link")
    visit.page.wait_for_url("**/next*")
    visit.wait("answer", lambda: visit.said == ["counted", "counted", "kept", "stamped"])
    visit.wait("the newer visitor", lambda: visit.id() == livechat_visitor)
    assert visit.partner() == visit.journey.id("B")


def secret_of(server: Server) -> bytes:
    return bytes.fromhex((server.data / "secret.key").read_text().strip())


@pytest.mark.parametrize("kind", ["expired", "of another program", "nonsense", "too long", "script"])
def test_a_broken_stamp_is_a_direct_link(visit: Visit, server: Server, kind: str) -> None:
    victim, now_ms = str(uuid.uuid4()), time.time_ns() // 1_000_000
    lt = {
        "expired": make_stamp(secret_of(server), victim, now_ms - 25 * 3_600_000),
        "of another program": make_stamp(b"another", victim, now_ms),
        "nonsense": "A" * 44,
        "too long": "A" * 5000,
        "script": '"><script>alert(1)</script>',
    }[kind]
    visit.land(visit.sites.url("livechat", "/", a=visit.journey.id("A"), lt=lt))
    assert visit.said == ["counted"]
    assert visit.id() not in (victim, None)
    assert (visit.partner(), "lt=" in visit.page.url) == (visit.journey.id("A"), False)
    assert visit.errors == []


def test_a_stamp_that_is_not_of_this_moment_waits_for_the_trackers_word(visit: Visit, server: Server) -> None:
    visitor = str(uuid.uuid4())
    held: list[Route] = []
    visit.context.route("**/touch", lambda route: held.append(route))
    for age_ms, before in ((60_000, None), (0, visitor)):
        lt = make_stamp(secret_of(server), visitor, time.time_ns() // 1_000_000 - age_ms)
        visit.context.clear_cookies()
        visit.page.goto(visit.sites.url("livechat", "/", a=visit.journey.id("A"), lt=lt))
        visit.wait("question", lambda: held)
        assert visit.id() == before
        held.pop().continue_()
        visit.settle()
        assert (visit.id(), visit.said[-1]) == (visitor, "stamped")


def test_a_partner_that_cannot_be_is_no_landing(visit: Visit) -> None:
    for partner in ("", "a b", "%00", "<img src=x onerror=alert(1)>", "x;y", "A" * 65, "é", "%"):
        visit.page.goto(f"{visit.sites.url('livechat')}?a={partner}&lt={'A' * 44}#x")
        assert (visit.id(), visit.partner(), visit.touches, visit.cookies()) == (None, None, [], {})
        assert "lt=" not in visit.page.url and visit.page.url.endswith("#x")
    assert visit.errors == []


def test_forged_cookies_are_not_believed(visit: Visit) -> None:
    for name in ("lt_visitor", "lt_partner", "lt_stamp"):
        value = '"><script>alert(1)</script>&a=x'
        visit.context.add_cookies([{"name": name, "value": value, "url": visit.sites.url("livechat")}])
    visit.page.goto(visit.sites.url("livechat"))
    assert (visit.id(), visit.partner()) == (None, None)
    visit.context.add_cookies([{"name": "lt_partner", "value": "X", "url": visit.sites.url("livechat")}])
    visit.context.add_cookies([{"name": "lt_stamp", "value": "A" * 44, "url": visit.sites.url("livechat")}])
    assert visit.arrival("/next", lambda: visit.page.click("#link")).query == {"x": " y", "z": "", "a": "X"}
    assert visit.errors == []


CLOBBERING = "".join(
    f'<img name="{name}"><form name="{name}" id="{name}"><input name="visitorId"></form>'
    for name in ("lasttouch", "cookie", "currentScript", "referrer", "querySelectorAll", "baseURI", "location",
                 "addEventListener", "body", "history", "performance", "fetch", "prerendering")
) + (
    '<form id="trap" action="{partners}/form"><input name="action" value="x"><input name="method">'
    '<input name="elements"><input name="parentNode"><input name="submit">'
    '<input name="getAttribute"><input name="setAttribute"><input name="querySelectorAll"><input name="baseURI">'
    '<button id="trap-button" name="lt" value="mine">go</button></form>'
)  # fmt: skip


def send_the_trap(visit: Visit) -> None:
    visit.page.evaluate("document.getElementById('trap-button').focus()")
    visit.page.keyboard.press("Enter")


def test_a_page_whose_content_shadows_the_documents_names(visit: Visit) -> None:
    visit.sites.pages["/"] = CLOBBERING.replace("{partners}", visit.sites.url("partners").rstrip("/"))
    visit.follow("A")
    assert (visit.partner(), visit.said) == (visit.journey.id("A"), ["stamped"])
    arrival = visit.arrival("/form", lambda: send_the_trap(visit))
    assert stamped(arrival) and arrival.query["action"] == "x"
    assert visit.errors == []


def test_a_page_that_pollutes_prototypes(visit: Visit) -> None:
    visit.context.add_init_script(
        """for (const name of ["get", "set", "writable", "headers", "signal", "integrity", "redirect", "credentials",
            "visitor", "stamp", "read", "partner", "campaign", "lt", "a", "domain"])
            Object.prototype[name] = "polluted";
        Object.prototype.toJSON = () => "polluted";"""
    )
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    visit.wait("answer of the tracker", lambda: visit.said)
    assert visit.touches[0]["partner_id"] == visit.journey.id("A")
    assert visit.said == ["stamped"]
    assert visit.cookies()["lt_partner"]["value"] == visit.journey.id("A")
    assert stamped(visit.arrival("/next", lambda: visit.page.locator("#link").click()))
    assert visit.errors == []


def test_a_tracker_that_is_away_harms_no_page(visit: Visit) -> None:
    visit.context.route("**/touch*", lambda route: route.abort())
    visit.context.route("**/touch/*", lambda route: route.abort())
    visit.page.goto(f"{visit.sites.tracker_url}/a/{visit.journey.id('A')}")
    assert (visit.partner(), visit.id() is None) == (visit.journey.id("A"), False)
    assert stamped(visit.arrival("/next", lambda: visit.page.click("#link")))
    visit.page.goto(visit.sites.url("livechat"))
    assert visit.sign_up("L")["reason"] == "last_touch"
    assert visit.errors == []


# ── Whole stories ─────────────────────────────────────────────────────────────────────────────────


def test_a_recruits_b_by_a_hyperlink_and_both_earn(visits: Callable[..., Visit]) -> None:
    recruit = visits()
    recruit.follow("A")
    recruit.page.click("#link")
    recruit.page.wait_for_url("**/next*")
    recruit.settle()
    form = recruit.arrival("/signup", lambda: recruit.page.click("#signup-button")).form
    journey = recruit.journey
    joined = journey.join("C", visitor_id=form["lt_visitor"])
    assert (joined["recruiter_id"], joined["reason"]) == (journey.id("A"), "last_touch")
    client = visits()
    client.follow("C")
    assert client.sign_up("L")["partner_id"] == journey.id("C")
    journey.pay("L", "payment", 2900)
    journey.attributed()
    assert journey.net("payment") == {(1, journey.id("C")): 580, (2, journey.id("A")): 145}
