"""Visitors follow links: with and without the cookie, on short and direct links, with parameters and deep links; bots.

A visitor's answer is right when it is the contract's 302: X-Lasttouch says what this kind of visitor must hear, the
location is the partner's site with the parameters passed through and ours added, and a cookie that was sent comes back.
"""

from __future__ import annotations

import random
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from locust import between, task
from locust.contrib.fasthttp import FastResponse

from loadtests.browsers import BROWSERS, CRAWLERS
from loadtests.load_program import LoadLink, LoadPartner
from loadtests.load_user import Check, LoadUser, header, said

REMEMBERED_COOKIES = 50  # of one load user, who stands for many browsers
DEEP_LINK_SHARE = 0.15
PARAMETERS_SHARE = 0.5
DIRECT_LINK_SHARE = 0.4

Parameters = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of visitor: its share of visits, what X-Lasttouch must say, and what its requests carry."""

    name: str
    share: float
    result: str
    agents: tuple[str, ...] = BROWSERS
    has_cookie: bool = False
    headers: dict[str, str] = field(default_factory=dict)


KINDS = (
    Kind("new visitor", 0.50, "counted"),
    Kind("returning visitor", 0.38, "counted", has_cookie=True),
    Kind("bot", 0.10, "bot", CRAWLERS),
    Kind("prefetch", 0.01, "prefetch", headers={"Sec-Purpose": "prefetch"}),
    Kind("opted-out visitor", 0.01, "opted-out", headers={"Cookie": "lt_optout=1"}),
)
DEEP_LINKS = ("/pricing/", "/features/", "/customers/", "/integrations/shopify/", "/help/install/")
REFERRERS = (
    "https://www.google.com/",
    "https://blog.example.com/best-live-chat-software?page=2",
    "https://news.example.org/2026/tools",
    "https://www.youtube.com/",
)


def parameters(chance: random.Random) -> list[tuple[str, str]]:
    """Some campaign parameters as advertisers append them."""
    wanted = [
        ("utm_medium", chance.choice(("cpc", "email", "blog", "video"))),
        ("utm_content", chance.choice(("footer", "hero banner", "zażółć"))),
        ("gclid", secrets.token_urlsafe(40)),
        ("sub", f"{chance.randrange(10_000)}"),
    ]
    return chance.sample(wanted, chance.randint(1, len(wanted)))


def redirects(kind: Kind, partner: LoadPartner, sent: Parameters, path: str, host: str, visitor_id: str) -> Check:
    """The answer is the redirect of this kind of visitor. `path` and `host` are where it must lead to."""

    def check(answer: FastResponse) -> str:
        if answer.status_code != 302:
            return said(answer)
        if header(answer, "X-Lasttouch") != kind.result:
            return f"X-Lasttouch says {header(answer, 'X-Lasttouch')!r} to a {kind.name}"
        where = urlsplit(header(answer, "Location"))
        query = parse_qsl(where.query)
        if (where.netloc, where.path) != (host, path):
            return f"it leads to {where.netloc}{where.path}, not to {host}{path}"
        if ("a", partner.partner_id) not in query or ("utm_source", "PP") not in query:
            return f"a or utm_source is missing: {where.query}"
        if [pair for pair in query if pair in sent] != list(sent):
            return f"parameters were not passed through: {where.query}"
        keeps_id = kind.result != "opted-out"
        if any(name == "lt" for name, _ in query) is not keeps_id or bool(cookie_of(answer)) is not keeps_id:
            return "the stamp or the cookie is missing" if keeps_id else "an opted-out visitor was given an id"
        return f"the cookie changed from {visitor_id}" if visitor_id and cookie_of(answer) != visitor_id else ""

    return check


def cookie_of(answer: FastResponse) -> str:
    """The visitor id that an answer sets, or an empty text."""
    name, _, value = header(answer, "Set-Cookie").partition(";")[0].partition("=")
    return value if name == "lt_vid" else ""


def follow(user: LoadUser, kind: Kind, partner: LoadPartner, visitor_id: str = "") -> str:
    """Follow one of a partner's links; the visitor id that the answer gave, empty when there is none or it failed."""
    chance = user.chance
    link: LoadLink = chance.choice(partner.links)
    site = urlsplit(link.site_url)
    sent = parameters(chance) if chance.random() < PARAMETERS_SHARE else []
    path = chance.choice(DEEP_LINKS) if chance.random() < DEEP_LINK_SHARE else ""
    query = urlencode([*sent, *([("to", path)] if path else [])])
    target = link.direct_path if chance.random() < DIRECT_LINK_SHARE else link.short_path
    headers = {"User-Agent": chance.choice(kind.agents), "Referer": chance.choice(REFERRERS), **kind.headers}
    if visitor_id:
        headers["Cookie"] = f"_ga=GA1.1.{chance.randrange(10**9)}; lt_vid={visitor_id}"
    check = redirects(kind, partner, sent, path or site.path or "/", site.netloc, visitor_id)
    answer = user.ask(f"click: {kind.name}", "GET", f"{target}?{query}" if query else target, check, headers=headers)
    return cookie_of(answer) if answer is not None else ""


class VisitorUser(LoadUser):
    """Follows a link every now and then, each time as another browser or as one that was here before."""

    weight = 20
    wait_time = between(0.1, 0.5)

    def on_start(self) -> None:
        super().on_start()
        self._cookies: deque[str] = deque(maxlen=REMEMBERED_COOKIES)

    @task
    def follow_a_link(self) -> None:
        kind = self.chance.choices(KINDS, [kind.share for kind in KINDS])[0]
        if kind.has_cookie and not self._cookies:
            kind = KINDS[0]
        visitor_id = self.chance.choice(self._cookies) if kind.has_cookie else ""
        given = follow(self, kind, self.some_partner(), visitor_id)
        if given and kind.result == "counted" and not visitor_id:
            self._cookies.append(given)
