"""Solution Partner: what a partner does for clients, against the real stores; what one call did the next one sees."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import pytest
import world
from running_app import Answer, App

from attribution.audit import audit
from attribution.ledger import run_round
from attribution.loader import Loader
from attribution.rebuild import rebuild_redis
from tracker import redis_keys
from tracker.events import LicenseChanged, Paid
from tracker.program import Program

BASE = "/v2/partners/solutions"
PLAN = {"plan": "team", "billing_cycle": "monthly", "seats": 3}
_numbers = iter(range(1, 10_000))


class Partner:
    """A partner's program."""

    def __init__(self, app: App, partner_id: str = "P") -> None:
        self._app = app
        self._token = app.tokens[partner_id]

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self._app.send(method, BASE + path, self._token, body=body)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.text
        return answer.json

    def organization(self, email: str, **more: Any) -> str:
        body = {"organization_name": "Acme", "client_name": "Carla Client", "client_email": email, **more}
        answer = self.ask("POST", "/organizations", body)
        assert answer.status == 201, answer.text
        return str(answer.json["id"])

    def license(self, organization_id: str, email: str, *, product: str = "livechat", **more: Any) -> Answer:
        body = {"client_name": "Carla Client", "client_email": email, "payment_origin": "partner", **more}
        return self.ask("POST", f"/organizations/{organization_id}/licenses?product={product}", body)

    def new_license(self, email: str = "", **more: Any) -> str:
        """The path of a new license in an organization of its own."""
        email = email or new_email()
        answer = self.license(self.organization(email), email, **more)
        assert answer.status == 201, answer.text
        return f"/licenses/livechat/{answer.json['license']}"


def new_email() -> str:
    return f"client{next(_numbers)}@client.example"


@pytest.fixture
def partner(app: App) -> Partner:
    return Partner(app)


def load_journal(app: App) -> None:
    """Load what waits, as attribution does."""
    loader = Loader(app.redis, app.warehouse, Program(), lambda: world.NOW)
    while loader.load_once():
        pass


def add_facts(app: App, *facts: Any) -> None:
    """Put facts into ClickHouse, and attribute them."""
    newest = app.warehouse.rows("select max(load_id) as load_id from loads")[0]["load_id"]
    world.load(app.warehouse, *facts, load_id=newest + 1)


def test_an_organization_is_read_before_and_after_it_is_loaded(app: App, partner: Partner) -> None:
    email = new_email()
    organization_id = partner.organization(email, organization_name="Zoë & Co", data_center="eu-west3", identifier="X1")
    for _ in range(2):
        found = partner.get(f"/organizations/{organization_id}")
        assert found == {
            "organization_id": organization_id, "name": "Zoë & Co", "data_center": "eu-west3", "products": [],
            "created_at": "2026-02-10T12:00:00Z",
        }  # fmt: skip
        page = partner.get(f"/organizations/{organization_id}/licenses")
        assert page == {
            "total": 1, "limit": 15,
            "results": [{"organization_id": organization_id, "organization_name": "Zoë & Co", "arr": 0,
                         "client_name": "Carla Client", "client_email": email, "licenses": []}],
        }  # fmt: skip
        load_journal(app)


def test_a_license_is_made_listed_and_described(app: App, partner: Partner) -> None:
    email = new_email()
    organization_id = partner.organization(email)
    more = {"payment_origin": "client", "trial_duration": 30, "coupon_id": 1, "purchase_order": "PO 7"}
    answer = partner.license(organization_id, email.upper(), **more)
    assert answer.status == 201, answer.text
    made = answer.json
    assert made["license"].isdigit()
    assert made == {
        "license": made["license"], "product": "livechat", "creation_timestamp": "2026-02-10 12:00:00",
        "end_timestamp": "2026-03-12 12:00:00", "client_name": "Carla Client", "client_email": email.upper(),
        "cc_added": False, "paid": False, "payment_origin": "client", "status": "trial",
    }  # fmt: skip
    for _ in range(2):
        assert made in partner.get("/licenses")["result"]
        assert made in partner.get("/licenses?date_from=2026-02-10&date_to=2026-02-10")["result"]
        assert made not in partner.get("/licenses?date_from=2026-02-11")["result"]
        assert made not in partner.get("/licenses?date_to=2026-02-10T11:59:59Z")["result"]
        details = partner.get(f"/licenses/livechat/{made['license']}")
        assert details == {
            "license": made["license"], "client_name": "Carla Client", "client_email": email.upper(),
            "purchase_order": "PO 7", "payment_origin": "client", "creation_timestamp": "2026-02-10 12:00:00",
            "end_timestamp": "2026-03-12 12:00:00", "conversations": 0, "conversations_last_30_days": 0,
            "cc_added": False, "paid": False, "seats": 0, "plan": "", "billing_cycle": "", "total_discount": 0,
            "discount_percent": 10, "total_commission": 0, "commission_percent": 20, "data_center": "us-south1",
            "ql": False, "status": "trial", "invited_agents": [],
        }  # fmt: skip
        organization = partner.get(f"/organizations/{organization_id}")
        assert organization["products"] == [{"product": "LiveChat"}]
        (page,) = partner.get(f"/organizations/{organization_id}/licenses")["results"]
        assert page["licenses"] == [{"external_license_id": made["license"], "product": "livechat"}]
        load_journal(app)
    rows = app.warehouse.rows(
        "select partner_id, payment_origin from solution_licenses where license_id = {id:String}", id=made["license"]
    )
    assert rows == [{"partner_id": "P", "payment_origin": "client"}]


REFUSED = [
    ({"trial_duration": 15}, 400, "trial_duration"),  # R14: the partner pays
    ({"coupon_id": 1}, 400, "coupon_id"),
    ({"payment_origin": "client", "trial_duration": 61}, 400, "trial_duration"),
    ({"payment_origin": "client", "trial_duration": 13}, 400, "trial_duration"),
    ({"payment_origin": "client", "coupon_id": 99}, 403, None),
    ({"client_email": "other@client.example"}, 400, "client_email"),
    ({"client_name": "Carl"}, 400, "client_name"),
    ({"client_name": "Carla\r\nBcc: all@example.com"}, 400, "client_name"),
]


@pytest.mark.parametrize(("more", "status", "field"), REFUSED)
def test_what_no_license_is_made_of(partner: Partner, more: dict[str, Any], status: int, field: str | None) -> None:
    email = new_email()
    answer = partner.license(partner.organization(email), more.pop("client_email", email), **more)
    assert answer.status == status, answer.text
    if field:
        assert [error["field"] for error in answer.json["errors"]] == [field]


def test_one_license_of_a_product_for_a_client_even_at_once(app: App, partner: Partner) -> None:
    email = new_email()
    organizations = [partner.organization(email), Partner(app, "Q").organization(email.upper())] * 4
    asking = [partner, Partner(app, "Q")] * 4
    statuses: list[int] = []

    def ask(one: Partner, organization_id: str) -> None:
        statuses.append(one.license(organization_id, email).status)

    threads = [threading.Thread(target=ask, args=pair) for pair in zip(asking, organizations, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, *[409] * 7]


def test_a_suspended_partner_creates_nothing(app: App) -> None:
    entry = (
        '{"joined_at":0,"name":"S","email":"s@partners.example","email_hash":"","recruiter_id":null,"links":{},'
        '"changes":[[1,"e1","suspended"]]}'
    )
    app.redis.hset(redis_keys.PARTNERS, "S", entry)
    body = {"organization_name": "Acme", "client_name": "Carla", "client_email": new_email()}
    assert Partner(app, "S").ask("POST", "/organizations", body).status == 403
    app.redis.hdel(redis_keys.PARTNERS, "S")


def test_a_client_is_renamed(app: App, partner: Partner) -> None:
    path = partner.new_license()
    assert partner.ask("PUT", path, {"client_name": "Dora Client", "purchase_order": "A-1"}).status == 204
    assert partner.ask("PUT", path, {"client_name": "Emma Client"}).status == 204
    for _ in range(2):
        found = partner.get(path)
        assert (found["client_name"], found["purchase_order"]) == ("Emma Client", "A-1")
        load_journal(app)


def test_operators_are_invited_each_with_an_outcome(app: App, partner: Partner) -> None:
    path = partner.new_license()
    people = [
        {"email": "ann@client.example", "role": "agent"},
        {"email": "bob@client.example", "role": "viewer"},  # in helpdesk only
        {"email": "Ann@client.example", "role": "administrator"},
    ]
    answer = partner.ask("POST", f"{path}/operators", {"operators": people})
    assert answer.status == 200, answer.text
    assert [one["status_code"] for one in answer.json["result"]] == [200, 400, 200]
    assert [one["operator"] for one in answer.json["result"]] == [person["email"] for person in people]
    for _ in range(2):
        assert partner.get(path)["invited_agents"] == [{"email": "Ann@client.example"}]
        load_journal(app)
    wrong = {"operators": [{"email": "ann@client.example", "role": "king"}]}
    assert partner.ask("POST", f"{path}/operators", wrong).status == 400
    assert partner.ask("POST", "/licenses/partner_program/1/operators", {"operators": people}).status == 400


def test_a_subscription_is_made_changed_and_closed(partner: Partner) -> None:
    path = partner.new_license()
    for method, body in (("PUT", PLAN), ("DELETE", None)):
        assert partner.ask(method, f"{path}/subscription", body).status == 409
    assert partner.ask("POST", f"{path}/subscription", {**PLAN, "token": "tok"}).status == 201
    assert partner.ask("POST", f"{path}/subscription", PLAN).status == 409
    found = partner.get(path)
    assert {name: found[name] for name in PLAN} == PLAN
    assert (found["end_timestamp"], found["status"]) == ("2026-03-10 12:00:00", "trial")
    yearly = {"plan": "business", "billing_cycle": "annual", "seats": 9}
    assert partner.ask("PUT", f"{path}/subscription", yearly).status == 204
    found = partner.get(path)
    assert {name: found[name] for name in yearly} == yearly
    assert found["end_timestamp"] == "2027-02-10 12:00:00"
    assert partner.ask("DELETE", f"{path}/subscription").status == 204  # at the end of the year
    assert partner.get(path)["status"] == "trial"
    assert partner.ask("PUT", f"{path}/subscription", PLAN).status == 409
    assert partner.ask("DELETE", f"{path}/subscription").status == 409
    assert partner.ask("DELETE", f"{path}/subscription", {"expire": True, "password": "x"}).status == 204
    found = partner.get(path)
    assert (found["status"], found["end_timestamp"]) == ("expired", "2026-02-10 12:00:00")
    assert partner.ask("POST", f"{path}/subscription", PLAN).status == 409


def test_closing_at_once_is_a_fact(app: App, partner: Partner) -> None:
    path = partner.new_license()
    assert partner.ask("POST", f"{path}/subscription", PLAN).status == 201
    assert partner.ask("DELETE", f"{path}/subscription", {"expire": True}).status == 204
    load_journal(app)
    license_id = path.rpartition("/")[2]
    rows = app.warehouse.rows("select kind from license_events where license_id = {id:String}", id=license_id)
    assert rows == [{"kind": "expired"}]


def history(app: App, path: str, partner_id: str = "P", **query: Any) -> Any:
    license_id = path.rpartition("/")[2]
    return app.partner_api("GET", f"/licenses/{license_id}/subscription-events", partner_id, **query)


def test_a_change_that_two_processes_moved_is_listed_once(app: App, partner: Partner) -> None:
    """Attribution and the app may start on a new schema at the same time, and each moves what was kept before (010)."""
    path = partner.new_license()
    partner.ask("POST", f"{path}/subscription", PLAN)
    partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": 9})
    load_journal(app)
    app.warehouse.run("insert into subscription_events select * from subscription_events")
    page = history(app, path, limit=1)
    assert [one["number"] for one in page["items"]] == [2]
    assert [one["number"] for one in history(app, path, limit=1, cursor=page["next_cursor"])["items"]] == [1]
    assert [one["number"] for one in history(app, path)["items"]] == [2, 1]


def test_every_change_of_a_subscription_is_a_fact(app: App, partner: Partner) -> None:
    """However many: what the state was and what came of it, in pages and on the license's page."""
    path = partner.new_license()
    assert history(app, path) == {"items": [], "next_cursor": None}
    partner.ask("POST", f"{path}/subscription", PLAN)
    for seats in range(4, 128):
        assert partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": seats}).status == 204
    partner.ask("DELETE", f"{path}/subscription")
    partner.ask("DELETE", f"{path}/subscription", {"expire": True})
    load_journal(app)
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = history(app, path, limit=50, cursor=cursor)
        items += page["items"]
        if not (cursor := page["next_cursor"]):
            break
    assert [one["number"] for one in items] == list(range(127, 0, -1))
    assert [one["kind"] for one in items] == ["closed", "closing", *["changed"] * 124, "created"]
    assert [one["seats"] for one in reversed(items)] == [*range(3, 128), 127, 127]
    now = "2026-02-10T12:00:00.000Z"
    assert items[1] == {"number": 126, "occurred_at": now, "kind": "closing", "plan": "team",
                        "billing_cycle": "monthly", "seats": 127, "closes_at": "2026-03-10T12:00:00.000Z"}  # fmt: skip
    assert (items[0]["closes_at"], items[-1]["closes_at"]) == (now, None)
    license_id = path.rpartition("/")[2]
    app.partner_api("GET", f"/licenses/{license_id}/subscription-events", "Q", status=404)
    app.partner_api("GET", "/licenses/none/subscription-events", status=404)
    run_round(app.warehouse, Program(), world.NOW)
    page = app.get(f"/partner/licenses/{license_id}", cookie=app.sign_in(app.tokens["P"]))
    assert page.status == 200, page.text
    assert page.text.count("<td>Changed</td>") == 48 and "Closed at once" in page.text and "Older" in page.text
    older = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert older is not None
    second = app.get(f"/partner/licenses/{license_id}{older[1]}", cookie=app.sign_in(app.tokens["P"])).text
    assert second.count("<td>Changed</td>") == 50 and "Put on a plan" not in second


def test_a_subscription_comes_back_from_its_facts_alone(app: App, partner: Partner) -> None:
    """Where neither Redis nor the kept entries have the license, and the audit sees where they differ."""
    paths = {}
    for end in ("renews", "closing", "closed", "transferred"):
        paths[end] = path = partner.new_license()
        partner.ask("POST", f"{path}/subscription", PLAN)
        partner.ask("PUT", f"{path}/subscription", {**PLAN, "seats": 8, "billing_cycle": "annual"})
        if end in ("closing", "closed"):
            partner.ask("DELETE", f"{path}/subscription", {"expire": end == "closed"})
        if end == "transferred":
            owner = new_email()
            partner.ask("POST", f"{path}/operators", {"operators": [{"email": owner, "role": "agent"}]})
            assert partner.ask("POST", f"{path}/transfer", {"new_owner": owner}).status == 200
    load_journal(app)
    # Billing's word of an ended license is a fact of its own and stays.
    run_round(app.warehouse, Program(), world.NOW)
    shown = ("plan", "seats", "billing_cycle", "end_timestamp", "status", "payment_origin")
    before = {end: {name: partner.get(path)[name] for name in shown} for end, path in paths.items()}
    assert (before["renews"]["seats"], before["transferred"]["seats"]) == (8, 0)
    ids = [path.rpartition("/")[2] for path in paths.values()]
    assert [found for found in differing(app) if found in ids] == []
    app.warehouse.run(
        "insert into directory_entries select * replace (replaceOne(value, '\"seats\":8', '\"seats\":9') as value) "
        "from directory_entries final where kind = 'solution-license' and key = {id:String}", id=ids[0],
    )  # fmt: skip
    assert [found for found in differing(app) if found in ids] == [ids[0]]
    app.warehouse.run(
        "alter table directory_entries delete where kind = 'solution-license' and key in {ids:Array(String)} "
        "settings mutations_sync = 1",
        ids=ids,
    )
    app.redis.hdel(redis_keys.SOLUTION_LICENSES, *ids)
    rebuild_redis(app.redis, app.warehouse, Program(), world.NOW)
    assert {end: {name: partner.get(path)[name] for name in shown} for end, path in paths.items()} == before
    assert partner.ask("DELETE", f"{paths['renews']}/subscription").status == 204
    load_journal(app)
    assert [one["number"] for one in history(app, paths["renews"])["items"]] == [3, 2, 1]


def differing(app: App) -> list[str]:
    """The licenses whose state the audit finds to be another than their changes made it."""
    return [one.subject for one in audit(app.warehouse, Program()).findings if one.kind == "subscription_differs"]


def test_the_client_s_subscription_is_not_the_partner_s(partner: Partner) -> None:
    path = partner.new_license(payment_origin="client")
    for method, body in (("POST", PLAN), ("PUT", PLAN), ("DELETE", None)):
        assert partner.ask(method, f"{path}/subscription", body).status == 403
    assert partner.ask("POST", f"{path}/transfer", {"new_owner": "ann@client.example"}).status == 403


def test_a_license_is_handed_over(app: App, partner: Partner) -> None:
    path = partner.new_license()
    owner = new_email()
    assert partner.ask("POST", f"{path}/subscription", PLAN).status == 201
    assert partner.ask("POST", f"{path}/transfer", {"new_owner": owner}).status == 400
    partner.ask("POST", f"{path}/operators", {"operators": [{"email": owner, "role": "administrator"}]})
    answer = partner.ask("POST", f"{path}/transfer", {"new_owner": owner})
    assert answer.status == 200, answer.text
    found = answer.json
    assert (found["payment_origin"], found["client_email"], found["plan"], found["seats"]) == ("client", owner, "", 0)
    assert (found["end_timestamp"], found["recurrent"], found["expired"]) == ("2026-02-24 12:00:00", False, False)
    assert (found["commission_percent"], found["discount_percent"]) == (20, 0)
    for _ in range(2):
        assert partner.get(path)["client_email"] == owner
        load_journal(app)
    for method, tail, body in (
        ("POST", "/subscription", PLAN), ("POST", "/transfer", {"new_owner": owner}),
        ("PUT", "", {"client_name": "Someone Else"}),
        ("POST", "/operators", {"operators": [{"email": owner, "role": "agent"}]}),
    ):  # fmt: skip
        assert partner.ask(method, path + tail, body).status == 403
    license_id = path.rpartition("/")[2]
    assert app.warehouse.rows("select license_id from license_transfers where license_id = {id:String}", id=license_id)


def test_money_and_stages_are_the_facts(app: App, partner: Partner) -> None:
    email = new_email()
    organization_id = partner.organization(email)
    made = partner.license(organization_id, email).json["license"]
    path = f"/licenses/livechat/{made}"
    partner.ask("POST", f"{path}/subscription", PLAN)
    load_journal(app)
    add_facts(
        app,
        Paid(payment_id=f"a-{made}", license_id=made, paid_at=world.NOW - 2000, amount_cents=2320, currency="USD",
             digest=""),
        Paid(payment_id=f"b-{made}", license_id=made, paid_at=world.NOW - 1000, amount_cents=1990, currency="USD",
             digest=""),
        LicenseChanged(event_id=f"q-{made}", license_id=made, occurred_at=world.NOW, kind="qualified", digest=""),
    )  # fmt: skip
    found = partner.get(path)
    assert (found["paid"], found["status"], found["ql"]) == (True, "paid", True)
    assert found["total_discount"] == 10.78  # 5.80, and 4.975 to the even cent (R9)
    assert (found["total_commission"], found["commission_percent"], found["discount_percent"]) == (0, 0, 20)
    (page,) = partner.get(f"/organizations/{organization_id}/licenses")["results"]
    assert page["arr"] == 238.8
    days = "date_from=2026-02-10&date_to=2026-02-10"
    rows = partner.get(f"/licenses/paid?{days}")["results"]
    assert [(row["license_id"], row["conversion_timestamp"]) for row in rows] == [(made, "2026-02-10 11:59:58")]


def test_pages_by_status_hold_everything_once(app: App) -> None:
    partner = Partner(app, "Q")
    made = {partner.new_license().rpartition("/")[2] for _ in range(7)}
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        page = partner.get(f"/licenses/trial?date_from=2026-02-10&date_to=2026-02-10&limit=3&next_cursor={cursor}")
        assert len(page["results"]) <= 3
        seen += [row["license_id"] for row in page["results"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen))
    assert made <= set(seen)
    assert partner.ask("GET", "/licenses/trial?date_from=2026-02-10&date_to=2026-02-10&limit=16").status == 400
    assert partner.ask("GET", "/licenses/trial?date_from=2026-02-10&date_to=2026-02-10&next_cursor=x").status == 400


def test_what_is_another_partner_s_is_not_there(app: App, partner: Partner) -> None:
    path = partner.new_license()
    organization_id = partner.organization(new_email())
    other = Partner(app, "Q")
    operators = {"operators": [{"email": "ann@client.example", "role": "agent"}]}
    calls: list[tuple[str, str, Mapping[str, Any] | None]] = [
        ("GET", f"/organizations/{organization_id}", None),
        ("GET", f"/organizations/{organization_id}/licenses", None),
        ("GET", path, None),
        ("PUT", path, {"client_name": "Mallory"}),
        ("POST", f"{path}/operators", operators),
        ("POST", f"{path}/subscription", PLAN),
        ("PUT", f"{path}/subscription", PLAN),
        ("DELETE", f"{path}/subscription", {"expire": True}),
        ("POST", f"{path}/transfer", {"new_owner": "ann@client.example"}),
    ]
    for method, target, body in calls:
        assert other.ask(method, target, body).status == 404, target
    assert other.license(organization_id, new_email()).status == 404
    assert path.rpartition("/")[2] not in other.ask("GET", "/licenses").text
    assert partner.get(path)["status"] == "trial"


def test_a_rebuild_restores_licenses_and_organizations(app: App, partner: Partner) -> None:
    email = new_email()
    organization_id = partner.organization(email)
    path = f"/licenses/livechat/{partner.license(organization_id, email).json['license']}"
    partner.ask("POST", f"{path}/subscription", PLAN)
    load_journal(app)
    before = (partner.get(path), partner.get(f"/organizations/{organization_id}"), partner.get("/licenses"))
    lost = (redis_keys.SOLUTION_LICENSES, redis_keys.ORGANIZATIONS, redis_keys.CLIENT_LICENSES, redis_keys.TRANSFERS,
            redis_keys.LICENSES, redis_keys.solutions_of("P"), redis_keys.CLIENT_ENTRIES)  # fmt: skip
    app.redis.delete(*lost)
    rebuild_redis(app.redis, app.warehouse, Program(), world.NOW)
    after = (partner.get(path), partner.get(f"/organizations/{organization_id}"), partner.get("/licenses"))
    assert after[:2] == before[:2]
    assert [one for one in after[2]["result"] if one in before[2]["result"]] == before[2]["result"]
    assert {one["license"] for one in after[2]["result"]} >= {"SOL1", "SOL2"}  # of the facts alone
    assert partner.license(organization_id, email).status == 409
