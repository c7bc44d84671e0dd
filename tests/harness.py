"""Scripts people through the real product, over HTTP and with the standard library only.

`Server` is one `lasttouch serve` on a data folder of its own. `Journey` is one story on it, with ids that no other
story has. `Visitor` is a browser with a cookie jar.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from loadtests.answers import Answer, send
from loadtests.own_server import ADMIN_TOKEN, ROOT, Server, free_port, poll, serving

__all__ = (
    "ADMIN_TOKEN", "BROWSER", "CRAWLER", "ROOT", "Answer", "Journey", "Server", "Visitor", "free_port", "poll", "send",
    "serving", "sums",
)  # fmt: skip

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@dataclass
class Visitor:
    """A browser: sends its cookies back, and nothing else that would know it again."""

    server: Server
    user_agent: str = BROWSER
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.cookies["lt_vid"]

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Follow a link. `headers` are named with underscores: `Sec_GPC="1"`."""
        sent = {"User-Agent": self.user_agent, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = send(self.server.tracker_port, method, target, headers=sent)
        if value := answer.cookie("lt_vid"):
            self.cookies["lt_vid"] = value
        return answer

    def click(self, partner_id: str, product: str = "", **query: str) -> Answer:
        """Follow a partner's direct link; it must count."""
        target = f"/a/{partner_id}" + (f"/{product}" if product else "") + (f"?{urlencode(query)}" if query else "")
        answer = self.get(target)
        assert (answer.status, answer.said) == (302, "counted"), (answer.status, answer.said)
        return answer


_stories = itertools.count(1)


class Journey:
    """One story, with ids of its own. Calls answer the JSON and raise AssertionError unless they succeeded."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.key = f"{next(_stories)}-{uuid.uuid4().hex[:6]}"

    def id(self, name: str) -> str:
        """An id of this story."""
        return f"{name}.{self.key}"

    def visitor(self, user_agent: str = BROWSER) -> Visitor:
        return Visitor(self.server, user_agent)

    def call(self, path: str, body: Mapping[str, Any], *, status: int = 201) -> dict[str, Any]:
        answer = self.server.api(path, {name: value for name, value in body.items() if value is not None})
        assert answer.status == status, f"{path} {body} answered {answer.status}: {answer.body.decode()}"
        found: dict[str, Any] = answer.json
        return found

    def join(self, name: str, /, **given: Any) -> dict[str, Any]:
        """A partner joins: `name` becomes their id and e-mail in this story, unless given."""
        body = {"partner_id": self.id(name), "email": f"{self.id(name)}@partners.example", "name": f"Partner {name}"}
        return self.call("/v1/partners", {**body, **given})

    def sign_up(self, name: str, /, **given: Any) -> dict[str, Any]:
        body = {"license_id": self.id(name), "product": "livechat"}
        return self.call("/v1/signups", {**body, **given})

    def pay(self, license_name: str, payment_name: str, amount_cents: int, **given: Any) -> dict[str, Any]:
        body = {"payment_id": self.id(payment_name), "license_id": self.id(license_name)}
        return self.call("/v1/payments", {**body, "amount_cents": amount_cents, "currency": "USD", **given})

    def refund(self, payment_name: str, refund_name: str, amount_cents: int, kind: str = "refund") -> dict[str, Any]:
        body = {"refund_id": self.id(refund_name), "payment_id": self.id(payment_name)}
        return self.call("/v1/refunds", {**body, "amount_cents": amount_cents, "kind": kind})

    def partner_event(self, event_name: str, partner_name: str, kind: str, **given: Any) -> dict[str, Any]:
        body = {"event_id": self.id(event_name), "partner_id": self.id(partner_name), "kind": kind}
        return self.call("/v1/partner-events", {**body, **given})

    def license_event(self, event_name: str, license_name: str, kind: str, **given: Any) -> dict[str, Any]:
        body = {"event_id": self.id(event_name), "license_id": self.id(license_name), "kind": kind}
        return self.call("/v1/license-events", {**body, **given})

    def import_lines(self, lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Load facts in bulk; the answer's `accepted`, `duplicates`, `rejected`."""
        text = "".join(json.dumps(line) + "\n" for line in lines)
        answer = self.server.api("/v1/import", text)
        assert answer.status == 200, f"import answered {answer.status}: {answer.body.decode()}"
        found: dict[str, Any] = answer.json
        return found

    def attributed(self) -> dict[str, Any]:
        return self.server.attributed()

    def ledger(self, payment_name: str) -> list[dict[str, Any]]:
        """The ledger's lines of a payment of this story, newest or oldest first as the API gives them."""
        return self.server.lines(payment_id=self.id(payment_name))

    def net(self, payment_name: str) -> dict[tuple[int, str], int]:
        """(tier, partner id) → net cents of a payment; zeros are left out."""
        return sums(self.ledger(payment_name))

    def attribution(self, license_name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.admin(f"/v2/admin/licenses/{self.id(license_name)}/attribution")
        return found


def sums(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[int, str], int]:
    """(tier, partner id) → cents of ledger lines; zeros are left out."""
    net: dict[tuple[int, str], int] = {}
    for line in lines:
        key = (line["tier"], line["partner_id"])
        net[key] = net.get(key, 0) + line["amount_cents"]
    return {key: cents for key, cents in net.items() if cents}
