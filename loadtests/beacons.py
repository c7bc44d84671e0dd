"""Pages of the program's sites report the landings of direct links (`POST /touch`), as linker.js does."""

from __future__ import annotations

import json
import uuid
from urllib.parse import urlencode, urlsplit

from locust import between, task
from locust.contrib.fasthttp import FastResponse

from loadtests.browsers import BROWSERS
from loadtests.load_user import Check, LoadUser, header, said
from loadtests.visitors import REFERRERS, parameters


class BeaconUser(LoadUser):
    """A browser on a site of the program, a new visitor for every landing."""

    weight = 5
    wait_time = between(0.2, 1.0)

    @task(9)
    def report_a_landing(self) -> None:
        partner = self.some_partner()
        url = self.chance.choice(partner.links).site_url
        report = {
            "visitor_id": str(uuid.uuid4()),
            "partner_id": partner.partner_id,
            "url": f"{url}&{urlencode(parameters(self.chance))}",
            "referrer": self.chance.choice(REFERRERS),
        }
        headers = {"Content-Type": "application/json", **self._page_headers(url)}
        self.ask("touch", "POST", "/touch", _is_answer_to(url), data=json.dumps(report), headers=headers)

    @task(1)
    def ask_before(self) -> None:
        """What a browser asks before it sends JSON to another site."""
        url = self.chance.choice(self.some_partner().links).site_url
        headers = {
            **self._page_headers(url),
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        self.ask("touch: preflight", "OPTIONS", "/touch", _is_answer_to(url), headers=headers)

    def _page_headers(self, url: str) -> dict[str, str]:
        return {"Origin": _origin(url), "Referer": f"{_origin(url)}/", "User-Agent": self.chance.choice(BROWSERS)}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_answer_to(url: str) -> Check:
    """204, which the page's browser lets the page see."""

    def check(answer: FastResponse) -> str:
        if answer.status_code != 204:
            return said(answer)
        allowed = header(answer, "Access-Control-Allow-Origin")
        return "" if allowed == _origin(url) else f"Access-Control-Allow-Origin is {allowed!r}"

    return check
