"""Partners look at their pages and read their commission over the API; marketing reads the funnel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from locust import between, task
from locust.contrib.fasthttp import FastResponse

from loadtests.load_program import LoadPartner
from loadtests.load_user import Check, LoadUser, bearer, has_status, header, is_json_with, json_object, said

PAGES = ("/", "/links", "/clicks", "/licenses", "/commissions")
LINES_OF_A_PAGE = (20, 100, 500)
GROUPINGS = ("none", "day", "week", "month", "partner", "campaign", "product", "country", "device")


class AppUser(LoadUser):
    """Somebody who uses the app's port."""

    abstract = True

    def see(self, name: str, path: str, check: Check, **headers: str) -> FastResponse | None:
        return self.ask(name, "GET", f"{self.program.app_url}{path}", check, headers=headers)


class PartnerUser(AppUser):
    """A partner in a browser and, with a token, by API."""

    weight = 3
    wait_time = between(0.5, 3.0)
    partner: LoadPartner
    cookie = ""

    def on_start(self) -> None:
        super().on_start()
        self.partner = self.some_partner()
        self._sign_in()

    def _sign_in(self) -> None:
        """Paste the token into the sign-in form, as a partner does."""
        form = urlencode({"token": self.partner.token})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("app: sign in", "POST", f"{self.program.app_url}/", _signs_in, data=form, headers=headers)
        if answer is not None:
            self.cookie = header(answer, "Set-Cookie").partition(";")[0]

    @task(3)
    def look_at_a_page(self) -> None:
        if not self.cookie:
            return self._sign_in()
        page = self.chance.choice(PAGES)
        self.see(f"page: /partner{page}", f"/partner{page}", _is_page, Cookie=self.cookie)
        return None

    @task(4)
    def read_commission_lines(self) -> None:
        """The newest lines, the page after them, and why one of them is there."""
        query: dict[str, Any] = {"limit": self.chance.choice(LINES_OF_A_PAGE)}
        lines = self._lines("api: commissions", query)
        if lines.get("next_cursor"):
            self._lines("api: commissions, next page", {**query, "cursor": lines["next_cursor"]})
        if items := lines.get("items"):
            entry_id = self.chance.choice(items)["entry_id"]
            chain = f"/v2/partners/commissions/{entry_id}/chain"
            self.see("api: chain", chain, is_json_with(200, entry_id=entry_id), **bearer(self.partner.token))

    @task(1)
    def ask_for_what_is_not_theirs(self) -> None:
        """404, whatever it is."""
        path = "/v2/partners/commissions/nobody/chain"
        self.see("api: not theirs", path, has_status(404), **bearer(self.partner.token))

    def _lines(self, name: str, query: dict[str, Any]) -> dict[str, Any]:
        path = f"/v2/partners/commissions?{urlencode(query)}"
        answer = self.see(name, path, _has_lines_of(self.partner.partner_id), **bearer(self.partner.token))
        return dict(json_object(answer)) if answer is not None else {}


class MarketingUser(AppUser):
    """Somebody of marketing, who reads the funnel in many ways."""

    weight = 1
    wait_time = between(1.0, 4.0)

    @task
    def read_the_funnel(self) -> None:
        grouping = self.chance.choice(GROUPINGS)
        today = datetime.now(UTC).date()
        first = today - timedelta(days=self.chance.choice((1, 7, 30, 365)))
        query = {"group_by": grouping, "date_from": first.isoformat(), "date_to": today.isoformat()}
        if self.chance.random() < 0.3:
            query["partner_id"] = self.some_partner().partner_id
        path = f"/v2/reports/funnel?{urlencode(query)}"
        self.see(f"report: funnel by {grouping}", path, _has_items, **bearer(self.program.marketing_token))


def _signs_in(answer: FastResponse) -> str:
    has_cookie = "=" in header(answer, "Set-Cookie")
    return "" if answer.status_code == 303 and has_cookie else said(answer)


def _is_page(answer: FastResponse) -> str:
    is_page = answer.status_code == 200 and header(answer, "Content-Type").startswith("text/html")
    return "" if is_page else said(answer)


def _has_items(answer: FastResponse) -> str:
    is_list = answer.status_code == 200 and isinstance(json_object(answer).get("items"), list)
    return "" if is_list else said(answer)


def _has_lines_of(partner_id: str) -> Check:
    """A page of lines, all of them this partner's."""

    def check(answer: FastResponse) -> str:
        if wrong := _has_items(answer):
            return wrong
        foreign = {line["partner_id"] for line in json_object(answer)["items"]} - {partner_id}
        return f"lines of other partners: {foreign}" if foreign else ""

    return check
