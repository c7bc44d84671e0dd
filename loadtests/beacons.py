"""Pages of the program's sites report the landings of direct links (`POST /touch`), as linker.js does."""

from __future__ import annotations

import json
import random
import uuid
from urllib.parse import urlencode, urlsplit

from locust import between, task
from locust.contrib.fasthttp import FastResponse

from loadtests.browsers import BROWSERS
from loadtests.load_user import LoadUser, said
from loadtests.visitors import REFERRERS, parameters


class BeaconUser(LoadUser):
    """A browser on a site of the program, a new visitor for every landing."""

    weight = 5
    wait_time = between(0.2, 1.0)

    @task(9)
    def report_a_landing(self) -> None:
        partner = self.some_partner()
        url = random.choice(partner.links).site_url
        report = {
            "visitor_id": str(uuid.uuid4()),
            "partner_id": partner.partner_id,
            "url": f"{url}&{urlencode(parameters(random))}",  # type: ignore[arg-type]
            "referrer": random.choice(REFERRERS),
        }
        headers = {"Content-Type": "application/json", **_page_headers(url)}
        self.ask("touch", "POST", "/touch", _is_answer_to(url), data=json.dumps(report), headers=headers)

    @task(1)
    def ask_before(self) -> None:
        """What a browser asks before it sends JSON to another site."""
        url = random.choice(self.some_partner().links).site_url
        headers = {
            **_page_headers(url),
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        self.ask("touch: preflight", "OPTIONS", "/touch", _is_answer_to(url), headers=headers)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _page_headers(url: str) -> dict[str, str]:
    return {"Origin": _origin(url), "Referer": f"{_origin(url)}/", "User-Agent": random.choice(BROWSERS)}


def _is_answer_to(url: str):  # type: ignore[no-untyped-def]
    def check(answer: FastResponse) -> str:
        if answer.status_code != 204:
            return said(answer)
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        return "" if allowed == _origin(url) else f"Access-Control-Allow-Origin is {allowed!r}"

    return check
