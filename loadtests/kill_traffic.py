"""The traffic that goes on while processes are killed: people on partners' links, sites' beacons, signups and billing.

Each click carries a mark of its own, so that every single one can be found again. Whoever reports a fact and gets no
answer, or a 503, sends the same again until it is answered, as integrators do; a few give up, and then the fact may
be there once or not at all. Amounts are whole dollars, so that no percent of them needs rounding.
"""

from __future__ import annotations

import http.client
import itertools
import queue
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from loadtests.answers import Answer, send
from loadtests.browsers import BROWSERS, CRAWLERS
from loadtests.own_server import ADMIN_TOKEN, Server
from loadtests.promises import Promises, SentClick, SentFact

VISITORS = 6  # at a time
SYSTEMS = 3  # that report joins, signups, payments and refunds
FIRST_PARTNERS = 3  # of each round
KNOWN_PARTNERS = 60  # whose links are followed: this round's and some of earlier ones
NEW_SECONDS = 30.0  # a link that is younger may be unknown to a worker that starts while Redis is away
JOIN_SHARE = 0.05  # of what a system reports
BOT_SHARE = 0.08
COOKIE_SHARE = 0.7
SIGNUP_SHARE = 0.5
GIVES_UP_SHARE = 0.03  # of facts, at the first silence
SENT_TWICE_SHARE = 0.1  # of facts, though the first was answered
MOST_WAITING = 20  # customers; more go away without a signup
CLICK_SECONDS = 5.0  # how long a visitor waits for an answer
FACT_SECONDS = 10.0
ANSWERED_WITHIN_SECONDS = 90.0  # a fact that is sent again and again, whatever was killed
PAUSE_SECONDS = 0.05  # after silence
SITE = "https://www.livechat.com"
DATA_CENTERS = ("us-south1", "eu-west3")
CALLS = {
    "partner": ("/v1/partners", "partner_id"),
    "signup": ("/v1/signups", "license_id"),
    "payment": ("/v1/payments", "payment_id"),
    "refund": ("/v1/refunds", "refund_id"),
    "license_event": ("/v1/license-events", "event_id"),
}
"""Kind of fact → its call, and the field that holds its id."""

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JoinedPartner:
    """A partner whose join was answered, at `joined_s`. `paths` are where the tracker has their links."""

    partner_id: str
    paths: tuple[str, ...]
    joined_s: float


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who signs up. The site sends the visitor id, or the raw stamp of the landing, or a Partner ID alone."""

    visitor_id: str = ""
    stamp: str = ""
    partner_id: str = ""

    def reported(self) -> Body:
        """The fields of a signup or a join that say who it is."""
        if self.stamp:
            return {"lt": self.stamp}
        return {"visitor_id": self.visitor_id} if self.visitor_id else {}


class KillTraffic:
    """One round's traffic on a server. `key` is in every id and mark, and clashes with no other round's.

    `partners` are those of earlier rounds; this round's are added.
    """

    def __init__(self, server: Server, key: str, seed: str, promises: Promises, partners: deque[JoinedPartner]) -> None:
        self._server = server
        self._key = key
        self._seed = seed
        self._promises = promises
        self._numbers = itertools.count(1)
        self._partners = partners
        self._customers: queue.Queue[Customer] = queue.Queue(MOST_WAITING)
        self._is_over = threading.Event()
        self._is_hopeless = threading.Event()

    def run(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Traffic for `seconds` at least, with `meanwhile` in the middle; returns when all that was begun has ended.

        Where `meanwhile` raises, nobody waits for answers any more.
        """
        chance = random.Random(self._seed)
        for _ in range(FIRST_PARTNERS):
            self._join(chance, Customer())
        threads = [self._thread(f"visitor-{number}", self._visit) for number in range(VISITORS)]
        threads += [self._thread(f"system-{number}", self._report_next) for number in range(SYSTEMS)]
        ends_s = time.monotonic() + seconds
        try:
            for thread in threads:
                thread.start()
            time.sleep(seconds * chance.uniform(0.1, 0.5))
            meanwhile()
            time.sleep(max(seconds / 4, ends_s - time.monotonic()))
        except BaseException:
            self._is_hopeless.set()
            raise
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _thread(self, name: str, step: Callable[[random.Random], None]) -> threading.Thread:
        """A thread that takes one step after the other until the round is over."""
        chance = random.Random(f"{self._seed} {name}")

        def live() -> None:
            try:
                while not self._is_over.is_set():
                    step(chance)
            except Exception:
                self._promises.wrong.append(f"{name}:\n{traceback.format_exc()}")

        return threading.Thread(target=live, name=name)

    # ── Visitors ──────────────────────────────────────────────────────────────────────────────────

    def _visit(self, chance: random.Random) -> None:
        """Somebody follows links of one to four partners, and may become a customer."""
        is_bot = chance.random() < BOT_SHARE
        agent = chance.choice(CRAWLERS if is_bot else BROWSERS)
        keeps_cookies = chance.random() < COOKIE_SHARE
        visitor_id = stamp = ""
        for _ in range(chance.randint(1, 4)):
            partner = chance.choice(self._partners)
            answer = self._click(chance, partner, agent, visitor_id if keeps_cookies else "")
            if answer is not None and answer.said == "counted":
                visitor_id, stamp = answer.cookie("lt_vid") or "", answer.query.get("lt", "")
            if visitor_id and chance.random() < 0.2:
                self._touch(chance.choice(self._partners), agent, visitor_id)
        if visitor_id and not is_bot and chance.random() < SIGNUP_SHARE:
            hint = chance.choice(self._partners).partner_id if chance.random() < 0.3 else ""
            customer = Customer(visitor_id, stamp if chance.random() < 0.4 else "", hint)
            with suppress(queue.Full):
                self._customers.put_nowait(customer if chance.random() < 0.9 else Customer(partner_id=hint))

    def _click(self, chance: random.Random, partner: JoinedPartner, agent: str, visitor_id: str) -> Answer | None:
        """Follow a link once; a visitor whose browser gets no answer follows another one, if any."""
        mark = self._new_id("c")
        target = f"{chance.choice(partner.paths)}?sub={mark}" + chance.choice(("", "&to=/pricing/", "&utm_medium=blog"))
        headers = {"User-Agent": agent, **({"Cookie": f"lt_vid={visitor_id}"} if visitor_id else {})}
        is_new = time.monotonic() - partner.joined_s < NEW_SECONDS
        call = "click on a new link" if is_new else "click"
        answer = self._ask(call, "GET", target, None, headers, CLICK_SECONDS)
        if answer is not None and (answer.status != 302 or not answer.said):
            self._promises.wrong.append(f"GET {target} answered {answer.status}: {answer.body[:300]!r}")
        is_promised = answer is not None and answer.said == "counted"
        told = answer.cookie("lt_vid") if answer is not None else None
        self._promises.clicks.append(SentClick(mark, partner.partner_id, told or visitor_id or None, is_promised))
        return answer

    def _touch(self, partner: JoinedPartner, agent: str, visitor_id: str) -> None:
        """A page reports a landing."""
        mark = self._new_id("t")
        url = f"{SITE}/?a={partner.partner_id}&utm_source=PP&sub={mark}"
        report = {"visitor_id": visitor_id, "partner_id": partner.partner_id, "url": url}
        headers = {"User-Agent": agent, "Origin": SITE}
        answer = self._ask("touch", "POST", "/touch", report, headers, CLICK_SECONDS)
        if answer is not None and answer.status not in (204, 503):
            self._promises.wrong.append(f"POST /touch {report} answered {answer.status}: {answer.body[:300]!r}")
        is_promised = answer is not None and answer.status == 204
        self._promises.clicks.append(SentClick(mark, partner.partner_id, visitor_id, is_promised))

    # ── Systems that report facts ─────────────────────────────────────────────────────────────────

    def _report_next(self, chance: random.Random) -> None:
        """What the next customer does: join as a partner, or sign up and pay."""
        try:
            customer = self._customers.get(timeout=0.1)
        except queue.Empty:
            return
        if chance.random() < JOIN_SHARE:
            self._join(chance, customer)
        else:
            self._become_client(chance, customer)

    def _join(self, chance: random.Random, customer: Customer) -> None:
        partner_id = self._new_id("P")
        body: Body = {"partner_id": partner_id, "email": f"{partner_id}@partners.example", "name": partner_id}
        if self._partners and chance.random() < 0.7:
            body["recruiter_id"] = chance.choice(self._partners).partner_id
        says = {**body, "visitor_id": customer.visitor_id if customer.reported() else ""}
        answer = self._report(chance, "partner", {**body, **customer.reported()}, says)
        if answer is not None:
            short = [urlsplit(link["short_url"]).path for link in answer["links"].values()]
            paths = (f"/a/{partner_id}", f"/a/{partner_id}/livechat", *short)
            self._partners.append(JoinedPartner(partner_id, paths, time.monotonic()))

    def _become_client(self, chance: random.Random, customer: Customer) -> None:
        """A signup, stages, payments and refunds; now and then a payment is faster than its signup."""
        license_id = self._new_id("L")
        if chance.random() < 0.15:
            self._pay(chance, license_id)
        body: Body = {
            "license_id": license_id,
            "product": "livechat",
            "client_email": f"{license_id}@clients.example",
            "client_name": f"Client {license_id}",
            "data_center": chance.choice(DATA_CENTERS),
        }
        if customer.partner_id:
            body["partner_id"] = customer.partner_id
        if chance.random() < 0.5:
            body["signed_up_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = customer.visitor_id if customer.reported() else ""
        says = {"license_id": license_id, "visitor_id": told, "partner_id": customer.partner_id}
        says["data_center"] = body["data_center"]
        self._report(chance, "signup", {**body, **customer.reported()}, says)
        if chance.random() < 0.4:
            event = {"event_id": self._new_id("E"), "license_id": license_id, "kind": "qualified"}
            self._report(chance, "license_event", event)
        for _ in range(chance.randint(0, 2)):
            self._pay(chance, license_id)

    def _pay(self, chance: random.Random, license_id: str) -> None:
        """A payment, of which some or all may go back, and a chargeback may be won."""
        payment_id, amount_cents = self._new_id("M"), 100 * chance.randint(1, 200)
        body = {"payment_id": payment_id, "license_id": license_id, "amount_cents": amount_cents, "currency": "USD"}
        if self._report(chance, "payment", body) is None or chance.random() < 0.7:
            return
        kind = chance.choice(("refund", "chargeback"))
        back_cents = chance.choice((amount_cents, 100 * chance.randint(1, amount_cents // 100)))
        refund = {"payment_id": payment_id, "amount_cents": back_cents}
        taken = self._report(chance, "refund", {**refund, "refund_id": self._new_id("R"), "kind": kind})
        if taken is not None and kind == "chargeback" and chance.random() < 0.5:
            self._report(chance, "refund", {**refund, "refund_id": self._new_id("R"), "kind": "chargeback_won"})

    def _report(self, chance: random.Random, kind: str, body: Body, says: Body | None = None) -> Body | None:
        """Send a fact until it is answered, always the same. The answer, or None where it was given up.

        `says` is what must be stored of it, by column; the body itself unless given.
        """
        path, id_field = CALLS[kind]
        gives_up = chance.random() < GIVES_UP_SHARE
        answer = self._answer(path, body, gives_up)
        self._promises.facts.append(SentFact(kind, body[id_field], says or body, answer is not None))
        if answer is not None and chance.random() < SENT_TWICE_SHARE:
            again = self._answer(path, body, gives_up=False)
            if again is not None and (again.status, again.body) != (200, answer.body):
                said = f"{answer.body!r} first and {again.status} {again.body!r} again"
                self._promises.wrong.append(f"{path} {body} answered {said}")
        return answer.json if answer is not None else None

    def _answer(self, path: str, body: Body, gives_up: bool) -> Answer | None:
        """The 2xx that a body gets in the end; None where its caller gave up."""
        deadline_s = time.monotonic() + ANSWERED_WITHIN_SECONDS
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        while True:
            answer = self._ask(path, "POST", path, body, headers, FACT_SECONDS)
            if answer is not None and answer.status in (200, 201):
                return answer
            if answer is not None and (answer.status != 503 or not answer.headers["Retry-After"]):
                self._promises.wrong.append(f"{path} {body} answered {answer.status}: {answer.body[:300]!r}")
                return None
            if gives_up or self._is_hopeless.is_set():
                return None
            if time.monotonic() > deadline_s:
                self._promises.wrong.append(f"{path} {body} got no answer in {ANSWERED_WITHIN_SECONDS:.0f} seconds")
                return None
            time.sleep(PAUSE_SECONDS)

    # ── What they share ───────────────────────────────────────────────────────────────────────────

    def _ask(
        self, call: str, method: str, target: str, body: Body | None, headers: dict[str, str], seconds: float
    ) -> Answer | None:
        """One request; None where it got no answer."""
        try:
            answer = send(self._server.tracker_port, method, target, body, headers, seconds)
        except (OSError, http.client.HTTPException):
            self._promises.answered(call, "no answer")
            time.sleep(PAUSE_SECONDS)
            return None
        self._promises.answered(call, f"{answer.status} {answer.said or ''}".strip())
        return answer

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}.{self._key}"
