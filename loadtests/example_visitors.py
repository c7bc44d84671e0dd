"""Live visitors of the example program: they click, land, sign up and pay through the real HTTP endpoints.

What takes a client two weeks takes these a few minutes, so that one can watch a click become a commission line.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from loadtests.example_partners import BOTS, BROWSERS, COMPANIES, PARTNERS, PLANS, SUSPENDED, ExamplePartner

logger = logging.getLogger("lasttouch.example")

SIGNUP_SHARE = 0.06  # of human visits
BOT_SHARE = 0.06
PREFETCH_SHARE = 0.02
RETURNING_SHARE = 0.2
REMEMBERED_VISITORS = 500
LONGEST_AGENDA = 500
TIMEOUT_SECONDS = 10.0
UTM: tuple[dict[str, str], ...] = (
    {"utm_medium": "blog"},
    {"utm_medium": "newsletter", "utm_content": "footer"},
    {"utm_medium": "video", "sub": "pinned"},
    {},
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser: its user agent, and the cookie that the tracker gave it."""

    user_agent: str
    cookie: str


class Visitors:
    """Makes one thing happen at a time: something that is due, else a new visit."""

    def __init__(self, chance: random.Random, tracker_url: str, sites_url: str, admin_token: str) -> None:
        self._chance = chance
        self._tracker = urlsplit(tracker_url)
        self._sites = urlsplit(sites_url)
        self._token = admin_token
        self._known: list[Visitor] = []
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()

    def one_step(self, now: float) -> None:
        """Do what is due at `now` (seconds since 1970), or visit. What fails is logged and left."""
        try:
            if self._agenda and self._agenda[0][0] <= now:
                heapq.heappop(self._agenda)[2](now)
            else:
                self._visit(now)
        except (OSError, http.client.HTTPException, ValueError) as error:
            logger.warning("an example visitor got no answer: %s", error or type(error).__name__)

    def _visit(self, now: float) -> None:
        """Somebody follows a partner's link, and lands on the site."""
        chance = self._chance
        partner = chance.choices(PARTNERS, [partner.pull for partner in PARTNERS])[0]
        product = "partner_program" if chance.random() < 0.05 else "livechat"
        is_bot = chance.random() < BOT_SHARE
        visitor = Visitor(chance.choice(BOTS), "") if is_bot else self._somebody()
        headers = {"User-Agent": visitor.user_agent, "Referer": partner.referrer, "Accept": "text/html"}
        if visitor.cookie:
            headers["Cookie"] = visitor.cookie
        if chance.random() < PREFETCH_SHARE:
            headers["Sec-Purpose"] = "prefetch"
        answer = _get(self._tracker.netloc, self._path(partner, product), headers)
        landing = answer.headers.get("Location", "")
        set_cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        if is_bot or answer.headers.get("X-Lasttouch") != "counted" or not landing:
            return
        visitor = Visitor(visitor.user_agent, set_cookie or visitor.cookie)
        self._remember(visitor)
        target = urlsplit(landing)
        _get(self._sites.netloc, f"{target.path or '/'}?{target.query}", {**headers, "Host": target.netloc})
        if product == "livechat" and partner.partner_id != SUSPENDED and chance.random() < SIGNUP_SHARE:
            self._later(now + chance.uniform(10, 120), lambda then: self._sign_up(visitor, then))

    def _path(self, partner: ExamplePartner, product: str) -> str:
        query: dict[str, str] = dict(self._chance.choice(UTM))
        if partner.campaigns and self._chance.random() < 0.6:
            query["utm_campaign"] = self._chance.choice(partner.campaigns)
        return f"/a/{partner.partner_id}/{product}" + (f"?{urlencode(query)}" if query else "")

    def _somebody(self) -> Visitor:
        if self._known and self._chance.random() < RETURNING_SHARE:
            return self._chance.choice(self._known)
        return Visitor(self._chance.choice(BROWSERS), "")

    def _remember(self, visitor: Visitor) -> None:
        self._known.append(visitor)
        if len(self._known) > REMEMBERED_VISITORS:
            self._known.pop(0)

    def _sign_up(self, visitor: Visitor, now: float) -> None:
        """The visitor starts a trial; its later stages go on the agenda."""
        chance = self._chance
        license_id = str(int(now * 1000))[-11:]
        company = chance.choice(COMPANIES)
        plan, seat_cents = chance.choice(PLANS)
        seats = chance.choice((1, 2, 3, 5))
        body = {
            "license_id": license_id,
            "product": "livechat",
            "visitor_id": visitor.cookie.partition("=")[2],
            "client_name": company,
            "client_email": f"{company.lower().replace(' ', '.').replace('&', 'and')}+{license_id}@example.com",
            "plan": plan,
            "seats": seats,
        }
        self._report("signups", body)
        at = now
        for share, kind in ((0.7, "qualified"), (0.7, "card_added"), (0.9, "paid")):
            at += chance.uniform(20, 90)
            if chance.random() > share:
                return
            self._later(at, lambda then, kind=kind: self._stage(license_id, kind, seats * seat_cents))  # type: ignore[misc]

    def _stage(self, license_id: str, kind: str, amount_cents: int) -> None:
        if kind == "paid":
            payment = {"payment_id": f"{license_id}-1", "license_id": license_id, "currency": "USD", "method": "card"}
            self._report("payments", {**payment, "amount_cents": amount_cents})
        else:
            event = {"event_id": f"{license_id}-{kind}", "license_id": license_id, "kind": kind}
            self._report("license-events", event)

    def _later(self, at: float, what: Callable[[float], None]) -> None:
        if len(self._agenda) < LONGEST_AGENDA:
            heapq.heappush(self._agenda, (at, next(self._order), what))

    def _report(self, call: str, body: dict[str, Any]) -> None:
        """What LiveChat's own systems tell the tracker."""
        connection = http.client.HTTPConnection(self._tracker.netloc, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"/v1/{call}", json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status not in (200, 201):
                logger.warning("/v1/%s answers %d: %s", call, answer.status, answer.read(300).decode(errors="replace"))
        finally:
            connection.close()


def _get(address: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """One GET, over a connection of its own, without following redirects."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": address, **headers})
        answer = connection.getresponse()
        answer.read(100_000)
        return answer
    finally:
        connection.close()
