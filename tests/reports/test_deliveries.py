"""Webhooks and e-mails against a real HTTP receiver and a real SMTP server."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import http.server
import json
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
import world
from redis.asyncio import Redis
from running_app import App
from test_solution_partner import PLAN, Partner, load_journal, new_email

from attribution.client_records import ClientRecords
from attribution.client_stores import ClientStores
from attribution.rebuild import rebuild_redis
from reports import deliveries, delivery_log, provisioning
from reports.deliveries import PAUSES, Worker, after_try, making_deliveries
from reports.delivery_log import DeliveryLog
from reports.invitation import Invitations
from reports.mail import Letter, Post, message_of
from reports.provisioning import Webhook
from tracker.delivery import FAILED, MAIL, PROVISIONING, WAITING, order
from tracker.program import Program
from tracker.sending import MailServer
from tracker.settings import Settings

KEY = b"a key of thirty-two bytes, no less"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
SECONDS = 15.0


class Receiver:
    """LiveChat's own system: keeps what it is sent, verifies it as docs/provisioning.md says, and answers as told."""

    def __init__(self) -> None:
        self.answers: list[int] = []  # in turn; 200 when there are none left. 0: never answers
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.hanging = threading.Event()
        self.verify = documented_verification()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.verify(SECRET, self.headers, body)
                receiver.seen.append((self.headers["webhook-id"], json.loads(body)))
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == 0:
                    receiver.hanging.wait(SECONDS)
                    return
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks?from=lasttouch"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def types(self) -> list[str]:
        return [document["type"] for _, document in self.seen]

    def close(self) -> None:
        self.hanging.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def documented_verification() -> Callable[[str, Any, bytes], None]:
    """The function that docs/provisioning.md gives to receivers."""
    page = (Path(__file__).parents[2] / "docs/provisioning.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], found)
    verify: Callable[[str, Any, bytes], None] = found["verify"]
    return verify


class MailBox:
    """A small real SMTP server (RFC 5321): keeps the letters, or refuses every recipient."""

    def __init__(self) -> None:
        self.letters: list[bytes] = []
        self.refuses_with = 0
        box = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 box")
                while line := self.rfile.readline():
                    word = line.split()[0].upper() if line.split() else b""
                    if word == b"DATA":
                        self.say("354 go on")
                        lines: list[bytes] = []
                        while (one := self.rfile.readline()) not in (b".\r\n", b""):
                            lines.append(one.removeprefix(b".") if one.startswith(b"..") else one)
                        box.letters.append(b"".join(lines))
                        self.say("250 kept")
                    elif word == b"RCPT" and box.refuses_with:
                        self.say(f"{box.refuses_with} no such person: {line.decode()}".strip())
                    elif word == b"QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

            def say(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.server = MailServer("127.0.0.1", self._server.server_address[1], is_tls=False)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def read(letter: bytes) -> EmailMessage:
    return cast("EmailMessage", email.message_from_bytes(letter, policy=email.policy.default))


@dataclass
class Sending:
    """Makes the app's deliveries, as its process does, until something holds."""

    app: App
    receiver: Receiver
    outbox: Path
    mail_server: MailServer | None = None
    url: str | None = ""
    secrets: list[bytes] = field(default_factory=lambda: [KEY])

    def until(self, holds: Callable[[], Any]) -> None:
        asyncio.run(self._until(holds))

    async def _until(self, holds: Callable[[], Any]) -> None:
        async with Redis.from_url(self.app.redis_url) as client:
            stores = ClientStores(self.app.warehouse, Program().data_centers)
            records = ClientRecords(client, stores, asyncio.to_thread)
            url = self.receiver.url if self.url == "" else self.url
            webhook = Webhook(url, self.secrets, client, records, lambda: time.time_ns() // 1_000_000)
            post = Post(self.mail_server, "Partners <partners@program.example>", self.outbox)
            channels = {PROVISIONING: webhook, MAIL: Invitations(post, records, Program())}
            async with making_deliveries(Worker(client, channels, lambda: world.NOW)):
                deadline = time.monotonic() + SECONDS
                while not holds():
                    assert time.monotonic() < deadline, "not delivered in time"
                    await asyncio.sleep(0.02)
                # What was seen is written down before the worker ends.
                while [
                    one for one in await DeliveryLog(client).newest((1 << 62, ""), {}, 500) if self.is_under_way(one)
                ]:
                    assert time.monotonic() < deadline, "not written down in time"
                    await asyncio.sleep(0.02)

    def is_under_way(self, one: Any) -> bool:
        seen = {webhook_id for webhook_id, _ in self.receiver.seen}
        return one.channel == PROVISIONING and one.id in seen and not one.attempts


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def sending(app: App, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    """Nothing was told before, and tries come soon after each other."""
    forget_deliveries(app)
    for pattern in ("{dir}:deliver*", "{dir}:provisioning-gone"):
        for key in app.redis.scan_iter(pattern):
            app.redis.delete(key)
    monkeypatch.setattr(deliveries, "PAUSES", (0.05,) * 4)
    monkeypatch.setattr(deliveries, "POLL_SECONDS", 0.02)
    yield Sending(app, receiver, tmp_path / "outbox")


def log_of(app: App, **query: str) -> list[dict[str, Any]]:
    target = "/v2/admin/deliveries" + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
    items: list[dict[str, Any]] = app.admin(target)["items"]
    return items


def test_a_license_s_story_is_told_in_order_signed_and_whole(app: App, receiver: Receiver, sending: Sending) -> None:
    partner = Partner(app)
    client, owner = new_email(), new_email()
    path = partner.new_license(client, client_name="Carla Client")
    partner.ask("PUT", path, {"client_name": "Dora Client"})
    partner.ask("POST", f"{path}/operators", {"operators": [{"email": owner, "role": "agent"}]})
    partner.ask("POST", f"{path}/subscription", PLAN)
    partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": 5})
    partner.ask("DELETE", f"{path}/subscription")
    partner.ask("POST", f"{path}/transfer", {"new_owner": owner})
    receiver.answers = [500, 302, 200, 503]
    expected = [
        "organization.created", "license.created", "client.renamed", "operators.invited", "subscription.created",
        "subscription.changed", "subscription.closed", "license.transferred",
    ]  # fmt: skip
    sending.until(lambda: len(receiver.seen) >= len(expected) + 3)
    assert receiver.types() == [*["organization.created"] * 3, *["license.created"] * 2, *expected[2:]]
    assert len({webhook_id for webhook_id, _ in receiver.seen}) == len(expected), "a try again has the same id"
    told = {document["type"]: document["data"] for _, document in receiver.seen}
    license_id = path.rpartition("/")[2]
    assert told["organization.created"]["client"] == {"name": "Carla Client", "email": client}
    created = told["license.created"]
    assert (created["license_id"], created["payment_origin"], created["trial_days"]) == (license_id, "partner", 14)
    assert (created["data_center"], created["coupon"]) == ("us-south1", None)
    assert told["client.renamed"]["client"]["name"] == "Dora Client"
    assert told["operators.invited"]["operators"] == [{"email": owner, "role": "agent"}]
    assert told["subscription.changed"]["subscription"] == {**PLAN, "seats": 5, "closes_at": None}
    assert told["subscription.closed"]["subscription"]["closes_at"] == "2026-03-10T12:00:00.000Z"
    assert told["license.transferred"]["owner"] == {"email": owner}
    listed = log_of(app, channel="provisioning")
    assert sorted(one["type"] for one in listed) == sorted(expected)
    assert {one["status"] for one in listed} == {"delivered"}
    (first,) = (one for one in listed if one["type"] == "organization.created")
    assert [one["outcome"] for one in first["last_attempts"]] == ["answered 500", "answered 302", "answered 200"]
    assert client not in json.dumps(listed) and "Carla" not in json.dumps(listed)


def test_a_receiver_that_hangs_holds_up_only_its_own_lane(
    app: App, receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "ANSWER_SECONDS", 2.0)
    partner = Partner(app)
    receiver.answers = [0]
    partner.organization(new_email())
    partner.organization(new_email())
    sending.until(lambda: len(receiver.seen) == 3)
    outcomes = [one["outcome"] for item in log_of(app) for one in item["last_attempts"]]
    assert sorted(outcomes) == ["answered 200", "answered 200", "no answer within 2 s"]


def test_a_receiver_that_is_gone_is_left_alone_until_someone_sends_again(
    app: App, receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_receiver(monkeypatch, receiver.url)
    receiver.answers = [410]
    first = Partner(app).organization(new_email())
    sending.until(lambda: receiver.seen)
    second = Partner(app).organization(new_email())
    began = time.monotonic()
    sending.until(lambda: time.monotonic() > began + 0.5)  # many looks
    assert len(receiver.seen) == 1
    waiting = log_of(app, status="waiting")
    assert {one["organization_id"] for one in waiting} == {first, second}
    delivery_id = next(one["delivery_id"] for one in waiting if one["organization_id"] == first)
    answer = app.send("POST", f"/v2/admin/deliveries/{delivery_id}/resend", app.tokens["admin"])
    assert (answer.status, answer.json["status"]) == (202, "waiting")
    sending.until(lambda: len(receiver.seen) == 3)
    assert {one["status"] for one in log_of(app)} == {"delivered"}
    # What was delivered can be sent again, too.
    assert app.send("POST", f"/v2/admin/deliveries/{delivery_id}/resend", app.tokens["admin"]).status == 202
    sending.until(lambda: len(receiver.seen) == 4)
    assert receiver.seen[-1][0] == delivery_id
    assert app.send("POST", "/v2/admin/deliveries/msg_none/resend", app.tokens["admin"]).status == 404


def test_without_a_receiver_nothing_piles_up_and_all_of_it_can_be_sent_later(
    app: App, receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "DONE_KEPT", 3)  # Redis forgets the older ones, ClickHouse does not
    partner = Partner(app)
    path = partner.new_license()
    for seats in range(2, 6):
        partner.ask("POST" if seats == 2 else "PUT", f"{path}/subscription", {**PLAN, "seats": seats})
    assert 'lasttouch_deliveries_waiting{channel="provisioning"} 6' in app.get("/metrics").text
    sending.url = None
    sending.until(lambda: not log_of(app, status="waiting", channel="provisioning"))
    assert 'lasttouch_deliveries_waiting{channel="provisioning"} 0' in app.get("/metrics").text
    load_journal(app)
    kept = log_of(app, status="not_sent")
    assert {one["last_attempts"][0]["outcome"] for one in kept} == {"not sent: no receiver is set"} and len(kept) == 6
    session = app.sign_in(app.tokens["admin"])
    page = app.get("/admin/", cookie=session).text
    assert "No webhook is set" in page and "6 webhooks were not sent" in page and "Send again" not in page
    resend = "/v2/admin/deliveries/resend"
    assert app.send("POST", resend, app.tokens["admin"], body={"status": "not_sent"}).status == 409
    assert app.send("POST", resend, app.tokens["admin"], body={"status": "waiting"}).status == 422
    assert app.send("POST", resend, app.tokens["P"], body={"status": "not_sent"}).status == 404
    set_receiver(monkeypatch, receiver.url)
    # What is ordered from now on comes after what is sent again, whichever is taken first.
    partner.ask("DELETE", f"{path}/subscription")
    page = app.get("/admin/", cookie=session).text
    csrf = re.search(r'action="/admin/deliveries">\s*<input type="hidden" name="csrf" value="([^"]+)"', page)
    assert csrf is not None
    form = {"csrf": csrf[1], "status": "not_sent"}
    answer = app.send("POST", "/admin/deliveries", cookie=session, form=form)
    assert answer.status == 303, answer.text
    assert "6 of them wait again" in app.get(answer.headers["Location"].partition("#")[0], cookie=session).text
    sending.url = ""
    sending.until(lambda: len(receiver.seen) == 7)
    assert receiver.types() == ["organization.created", "license.created", "subscription.created",
                                *["subscription.changed"] * 3, "subscription.closed"]  # fmt: skip
    assert [document["data"]["subscription"]["seats"] for _, document in receiver.seen[2:]] == [2, 3, 4, 5, 5]
    load_journal(app)
    again = app.send("POST", resend, app.tokens["admin"], body={"status": "not_sent"})
    assert (again.status, again.json) == (200, {"resent": 0, "left": 0})
    # One that Redis has forgotten can be sent again, too.
    oldest = receiver.seen[0][0]
    assert app.redis.hget("{dir}:deliveries", oldest) is None
    assert app.send("POST", f"/v2/admin/deliveries/{oldest}/resend", app.tokens["admin"]).status == 202
    sending.until(lambda: len(receiver.seen) == 8)
    assert receiver.seen[-1][0] == oldest


def test_all_there_ever_were_are_listed_page_by_page(
    app: App, receiver: Receiver, sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are in ClickHouse alone, some in both as they were and as they are now, some in Redis alone."""
    monkeypatch.setattr(delivery_log, "DONE_KEPT", 3)
    partner = Partner(app)
    path = partner.new_license()
    for seats in range(2, 8):
        partner.ask("POST" if seats == 2 else "PUT", f"{path}/subscription", {**PLAN, "seats": seats})
    sending.until(lambda: len(receiver.seen) == 8)
    load_journal(app)
    receiver.answers = [500] * 20  # tried, and waiting again
    partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": 8})
    load_journal(app)
    receiver.answers = []
    sending.until(lambda: len(receiver.seen) == 9)
    partner.ask("DELETE", f"{path}/subscription")
    told = [webhook_id for webhook_id, _ in receiver.seen]
    assert app.redis.hlen("{dir}:deliveries") < len(told), "Redis has forgotten some"

    def listed(**query: str) -> list[tuple[str, str]]:
        found, cursor = [], ""
        while True:
            more = {**query, "limit": "2", **({"cursor": cursor} if cursor else {})}
            page = app.admin("/v2/admin/deliveries?" + "&".join(f"{name}={value}" for name, value in more.items()))
            found += [(one["delivery_id"], one["status"]) for one in page["items"]]
            assert len(page["items"]) == 2 or page["next_cursor"] is None
            cursor = page["next_cursor"]
            if not cursor:
                return found

    waiting, *delivered = listed(channel="provisioning")
    assert waiting[1] == "waiting" and delivered == [(name, "delivered") for name in told[::-1]]
    assert listed(channel="provisioning", status="waiting") == [waiting], "as Redis says, not as ClickHouse does yet"
    assert listed(channel="provisioning", status="delivered") == delivered
    assert [status for _, status in listed()].count("delivered") >= len(told)
    session = app.sign_in(app.tokens["admin"])
    page = app.get("/admin/deliveries?channel=provisioning", cookie=session).text
    assert page.count("<td>LiveChat&#39;s own system</td>") == 10 and page.count('class="badge good"') == 9
    monkeypatch.setattr("reports.admin.pages.ROWS_PER_PAGE", 4)
    first = app.get("/admin/deliveries?status=delivered&channel=provisioning", cookie=session).text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None and first.count('class="badge good"') == 4
    second = app.get("/admin/deliveries" + older[1].replace("&amp;", "&"), cookie=session).text
    assert second.count('class="badge good"') == 4 and "Newest" in second
    assert app.get("/admin/deliveries?status=lost", cookie=session).status == 400
    assert app.get("/admin/deliveries", cookie=app.sign_in(app.tokens["P"])).status in (403, 404)


def set_receiver(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """As if the app had been started with a webhook's URL."""
    monkeypatch.setattr(Settings, "provisioning_url", url)


def forget_deliveries(app: App) -> None:
    """What earlier tests ordered is not in ClickHouse either."""
    load_journal(app)
    app.warehouse.run("alter table directory_entries delete where kind = 'delivery' settings mutations_sync = 1")
    app.warehouse.run("truncate table deliveries")


def test_what_waits_outlives_redis(app: App, receiver: Receiver, sending: Sending) -> None:
    """Each is made at least once, in order, under the id that it always had."""
    partner = Partner(app)
    path = partner.new_license()
    receiver.answers = [200, 500]
    sending.until(lambda: len(receiver.seen) >= 2)
    partner.ask("POST", f"{path}/subscription", PLAN)
    partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": 9})
    load_journal(app)
    before = {one["delivery_id"]: (one["type"], one["status"]) for one in log_of(app)}
    waiting = [name for name, (_, status) in sorted(before.items()) if status == "waiting"]
    assert len(before) == 5 and len(waiting) >= 2, "two licenses' webhooks and the invitation"
    for key in app.redis.scan_iter("{dir}:deliver*"):
        app.redis.delete(key)
    assert {one["delivery_id"] for one in log_of(app, status="waiting")} >= set(waiting), "ClickHouse knows them"
    for _ in range(2):
        rebuild_redis(app.redis, app.warehouse, Program(), world.NOW)
    assert {one["delivery_id"]: (one["type"], one["status"]) for one in log_of(app)} == before
    # What was ordered before Redis was lost goes before what is ordered afterwards.
    partner.ask("DELETE", f"{path}/subscription")
    webhooks = [name for name in waiting if before[name][0] != "invitation"]
    assert f'lasttouch_deliveries_waiting{{channel="provisioning"}} {len(webhooks) + 1}' in app.get("/metrics").text
    receiver.answers, receiver.seen = [], []
    sending.until(lambda: len(receiver.seen) > len(webhooks))
    told = [webhook_id for webhook_id, _ in receiver.seen]
    assert told[:-1] == webhooks and receiver.types()[-2:] == ["subscription.changed", "subscription.closed"]
    load_journal(app)
    for key in app.redis.scan_iter("{dir}:deliver*"):
        app.redis.delete(key)
    rebuild_redis(app.redis, app.warehouse, Program(), world.NOW)
    assert {one["status"] for one in log_of(app)} == {"delivered"}, "what was taken is not made again"


def test_what_a_dead_process_had_taken_is_made_again(app: App, receiver: Receiver, sending: Sending) -> None:
    Partner(app).organization(new_email())

    async def take_and_die() -> int:
        async with Redis.from_url(app.redis_url) as client:
            taken = await DeliveryLog(client).take(PROVISIONING, 8)
            assert await DeliveryLog(client).take(PROVISIONING, 8) == [], "nobody else gets it meanwhile"
            return len(taken)

    assert asyncio.run(take_and_die()) == 1
    (lanes,) = app.redis.scan_iter("{dir}:delivery-lanes:provisioning")
    for lane, due in app.redis.zrange(lanes, 0, -1, withscores=True):
        assert due > time.time() * 1000 + 30_000
        app.redis.zadd(lanes, {lane: 0})  # as if a minute had passed
    sending.until(lambda: receiver.seen)


def test_tries_end_after_days() -> None:
    assert 6 * 86_400 < sum(PAUSES) < 7 * 86_400
    one = order(PROVISIONING, "lane", "license.created", 0, {})
    for pause in PAUSES:
        one, waits = after_try(one, "answered 500", WAITING, 0)
        assert (one.status, one.settled_at) == (WAITING, None)
        assert pause <= waits <= pause * 1.1
    one, _ = after_try(one, "answered 500", WAITING, 7)
    assert (one.status, one.settled_at, one.next_at, one.attempts) == (FAILED, 7, None, len(PAUSES) + 1)
    assert len(one.last_attempts) == deliveries.ATTEMPTS_KEPT


def test_what_was_changed_or_is_old_does_not_verify() -> None:
    verify, body, now = documented_verification(), b'{"type":"x"}', int(time.time())

    def headers(at: int) -> dict[str, str]:
        signed = provisioning.signature(KEY, "msg_1", at, body)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signed}

    verify(SECRET, headers(now), body)
    for given, content in (
        (headers(now), body + b" "),
        (headers(now - 400), body),
        ({**headers(now), "webhook-id": "2"}, body),
    ):
        with pytest.raises(ValueError):
            verify(SECRET, given, content)


def test_two_secrets_sign_while_one_is_changed(app: App, receiver: Receiver, sending: Sending) -> None:
    sending.secrets = [b"the next key, which nobody knows yet", KEY]
    Partner(app).organization(new_email())
    sending.until(lambda: receiver.seen)


def test_the_invitation_states_the_deal_where_the_client_pays(
    app: App, receiver: Receiver, sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    box = MailBox()
    try:
        sending.mail_server = box.server
        address = new_email()
        deal = {"payment_origin": "client", "trial_duration": 30, "coupon_id": 1}
        path = Partner(app).new_license(address, client_name="Zoë <b>Client</b>", **deal)
        sending.until(lambda: box.letters)
        letter = read(box.letters[0])
        assert letter["To"].addresses[0].addr_spec == address
        assert letter["To"].addresses[0].display_name == "Zoë <b>Client</b>"
        assert letter["From"] == "Partners <partners@program.example>"
        text, html = (part.get_content() for part in letter.iter_parts())  # type: ignore[attr-defined]
        for body in (text, html):
            assert path.rpartition("/")[2] in body
            assert "30 days, until 2026-03-12" in body
            assert "10% off for a year" in body
        assert "<b>Client" in text and "&lt;b&gt;Client" in html
        Partner(app).new_license(client_name="Paul Partnerpays")
        sending.until(lambda: len(box.letters) == 2)
        for part in read(box.letters[1]).iter_parts():
            content = part.get_content()  # type: ignore[attr-defined]
            assert "Paul Partnerpays" in content
            assert not any(word in content.lower() for word in ("trial", "days", "discount", "price"))
        assert address not in caplog.text
    finally:
        box.close()


def test_an_address_that_is_refused_is_given_up_and_named_nowhere(
    app: App, receiver: Receiver, sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    box = MailBox()
    try:
        sending.mail_server = box.server
        box.refuses_with = 550
        address = new_email()
        Partner(app).new_license(address)
        sending.until(lambda: [one for one in log_of(app, channel="mail") if one["status"] == "failed"])
        (one,) = log_of(app, channel="mail")
        assert one["last_attempts"][0]["outcome"] == "the mail server refuses the address: 550"
        assert "is given up" in caplog.text and address not in caplog.text
    finally:
        box.close()


def test_without_a_mail_server_letters_lie_in_the_outbox(
    app: App, receiver: Receiver, sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = new_email()
    Partner(app).new_license(address, client_name="Olga Outbox")
    load_journal(app)  # the client is read from the data center's store
    sending.until(lambda: list(sending.outbox.glob("*.eml")))
    (path,) = sending.outbox.iterdir()
    assert path.stat().st_mode & 0o077 == 0 and sending.outbox.stat().st_mode & 0o077 == 0
    assert read(path.read_bytes())["To"] == f"Olga Outbox <{address}>"
    assert "no mail server is set" in caplog.text and address not in caplog.text


@pytest.mark.parametrize("name", ["a\r\nBcc: all@example.com", "a\nX: y", "\u2028x", '"quoted" <x@y.example>'])
def test_nothing_but_a_name_gets_into_a_header(name: str) -> None:
    letter = Letter("id", world.NOW, "carla@client.example", name, f"Hello {name}", "text", "<p>html</p>")
    sent = read(message_of(letter, "Partners <partners@program.example>").as_bytes())
    assert [address.addr_spec for address in sent["To"].addresses] == ["carla@client.example"]
    assert sent["Bcc"] is None and sent["X"] is None


def test_an_address_that_is_none_is_refused() -> None:
    letter = Letter("id", world.NOW, "a@b\r\nBcc: c@d", "n", "s", "text", "<p>html</p>")
    with pytest.raises(deliveries.Refused):
        message_of(letter, "partners@program.example")
