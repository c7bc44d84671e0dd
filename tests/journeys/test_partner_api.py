"""A partner's year in an afternoon: every operation of the Partner API once, in the order in which a partner would call
it, each figure checked against the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from reports.partner_api.contract import CONTRACT, CONTRACT_OPERATIONS, Operation, resolved
from reports.partner_api.schemas import schema_errors
from tests.harness import ADMIN_TOKEN, Journey, Visitor, send

PERIOD = {
    "date_from": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}",
    "date_to": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}",
}


@dataclass
class Tool:
    """A partner's program, which calls operations by their ids and notes which it has used."""

    journey: Journey
    partner_id: str
    used: set[str]
    token: str = field(init=False)

    def __post_init__(self) -> None:
        answer = send(
            self.journey.server.app_port, "POST", f"/v2/admin/partners/{self.partner_id}/tokens", {"label": "tool"},
            {"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )  # fmt: skip
        assert answer.status == 201, answer.body
        self.token = answer.json["token"]

    def __call__(self, operation_id: str, body: Mapping[str, Any] | None = None, refused: int = 0, **given: Any) -> Any:
        """What an operation answers, with the status and in the shape that the contract says; None where it is to be
        `refused` with a status. `given` has the parameters of path and query."""
        operation = CONTRACT_OPERATIONS[operation_id]
        path = operation.path
        for name in re.findall(r"{([a-z_]+)}", path):
            path = path.replace(f"{{{name}}}", str(given.pop(name)))
        target = path + (f"?{urlencode(given)}" if given else "")
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = send(self.journey.server.app_port, operation.method, target, body, headers)
        assert answer.status == (refused or operation.status), (
            f"{operation_id} {given}: {answer.status} {answer.body!r}"
        )
        if refused:
            return None
        self.used.add(operation_id)
        document = answer.json if answer.body else None
        check_shape(operation, document)
        return document

    def value(self, operation_id: str, **given: Any) -> Any:
        """A metric's value."""
        return self(operation_id, **given)["value"]

    def total(self, operation_id: str, **given: Any) -> float:
        """The sum of a report's buckets."""
        return round(sum(item["total"] for item in self(operation_id, **given)["items"]), 2)

    def lines(self, **fields: Any) -> list[dict[str, Any]]:
        """The partner's lines in the ledger with these values."""
        lines = self.journey.server.lines(partner_id=self.partner_id)
        return [line for line in lines if all(line[name] == value for name, value in fields.items())]

    def earned(self, **fields: Any) -> float:
        return dollars(self.lines(**fields))


def check_shape(operation: Operation, document: Any) -> None:
    """Whether an answer is what the contract says."""
    entry = CONTRACT["paths"][operation.path][operation.method.lower()]["responses"][str(operation.status)]
    content = resolved(entry).get("content")
    if content:
        wrong = schema_errors(content["application/json"]["schema"], document)
        assert not wrong, (operation.operation_id, wrong, document)
    else:
        assert document is None, (operation.operation_id, document)


def dollars(lines: Iterable[Mapping[str, Any]]) -> float:
    return sum(line["amount_cents"] for line in lines) / 100


def follow(journey: Journey, short_url: str) -> tuple[Visitor, Any]:
    """A new visitor follows a short link; it counts at once."""
    visitor = journey.visitor()
    answer = visitor.get(f"/{short_url.split('/', 3)[3]}")
    assert (answer.status, answer.said) == (302, "counted")
    return visitor, answer


def test_every_operation_once(journey: Journey) -> None:
    used: set[str] = set()
    rita = become_partners(journey, used)
    paul = Tool(journey, journey.id("paul"), used)
    settle_in(paul)
    campaign_id = campaign(paul, journey)
    journey.attributed()
    results(paul, campaign_id)
    switch_off(paul, journey, campaign_id)
    recruiter(rita, journey)
    clients(paul, journey)
    journey.attributed()
    earnings(paul, rita)
    withdraw(paul)
    assert sorted(CONTRACT_OPERATIONS.keys() - used) == []


def become_partners(journey: Journey, used: set[str]) -> Tool:
    """Rita becomes a partner, and Paul by her link to the partner program."""
    journey.join("rita")
    rita = Tool(journey, journey.id("rita"), used)
    rita("get_status")
    links = rita("get_affiliate_links")
    future_partner, answer = follow(journey, links["partner_program"]["short_url"])
    assert answer.query["a"] == rita.partner_id and links["partner_program"]["url"].endswith("&utm_source=PP")
    assert journey.join("paul", visitor_id=future_partner.id)["recruiter_id"] == rita.partner_id
    return rita


def settle_in(paul: Tool) -> None:
    """Paul says who he is, and gives his program a token of its own."""
    profile = paul("get_profile")
    assert profile == paul("get_profile_alias") and profile["partner_id"] == paul.partner_id
    person = {"first_name": "Paul", "last_name": "P", "contact_name": "Paul P", "contact_email": "paul@example.com"}
    paul("update_profile", {**person, "send_newsletter": True})
    assert paul("get_profile") == {**profile, **person, "send_newsletter": True}
    made = paul("create_api_token", {"label": "crawler"})
    listed = paul("get_api_tokens")["result"]
    assert [one["label"] for one in listed] == ["crawler", "tool"] and listed[0]["id"] == made["id"]
    crawler = copy(paul)
    crawler.token = made["token"]
    assert crawler("get_billing") == dict.fromkeys(
        ("company", "vat", "address", "city", "state", "zip_code", "country", "paypal", "type"), ""
    )
    paul("revoke_api_token", id=made["id"])
    crawler("get_billing", refused=401)


def campaign(paul: Tool, journey: Journey) -> str:
    """Paul starts a campaign with a deal. Three people come by it: one pays, is refunded in part, and pays for a year;
    one stays a trial; one only looks."""
    [coupon] = paul("get_coupons")["result"]
    page = "https://www.livechat.com/pricing/"
    wanted = {"name": "Spring sale", "link": page, "trial_duration": 30, "coupon_id": coupon["id"]}
    made = paul("create_campaign", wanted, product="livechat")
    payer, answer = follow(journey, made["short_url"])
    assert answer.location.startswith(f"{page}?") and answer.query["utm_campaign"] == made["slug"]
    trial, _ = follow(journey, f"{made['short_url']}?utm_medium=mail&utm_term=chat%20app")
    follow(journey, made["short_url"])
    deal = {
        "campaign": made["slug"], "trial_days": 30,
        "coupon": {"id": 1, "label": coupon["label"], "discount_percent": 10},
    }  # fmt: skip
    signup = {"visitor_id": payer.id, "client_email": "payer@client.example"}
    assert journey.sign_up("payer", **signup)["deal"] == deal
    again = {"license_id": journey.id("payer"), "product": "livechat", **signup}
    assert journey.call("/v1/signups", again, status=200)["deal"] == deal, "the first answer again"
    assert journey.sign_up("trial", visitor_id=trial.id)["deal"] == deal
    journey.license_event("e1", "trial", "qualified")
    assert journey.sign_up("told", partner_id=paul.partner_id)["deal"] is None, "R3: no click, no deal"
    journey.pay("payer", "monthly", 2900)
    journey.pay("payer", "annual", 34_800, billing_cycle="annual")
    journey.refund("monthly", "back", 1000)
    assert [one["slug"] for one in paul("get_campaigns")["result"]] == [made["slug"]]
    filters = f'[{{"field":"name","operator":"equals","value":"{made["name"]}"}}]'
    found = paul("search_campaigns", page=1, state="active", filters=filters)
    assert found["total"] == 1 and found["results"][0]["landing_page_url"] == page
    return str(found["results"][0]["id"])


def results(paul: Tool, campaign_id: str) -> None:
    """What came of it, seen in every way: all agree with each other and with the ledger."""
    earned = paul.earned(tier=1)
    assert earned == (580 - 200 + 6960) / 100
    expected = {"clicks": 3, "trials": 3, "conversions": 1, "earnings": earned}
    for name, value in expected.items():
        assert paul.value(f"get_{name}_metrics", **PERIOD) == value, name
        for aggregation in ("day", "week", "month"):
            assert paul.total(f"get_{name}_report", aggregation=aggregation, **PERIOD) == value, name
    of_campaign = {**expected, "trials": 2}
    for name, value in of_campaign.items():
        best = paul(f"get_best_performing_campaigns_{name}_report", limit=1, **PERIOD)["items"]
        assert [(str(one["id"]), one["value"]) for one in best] == [(campaign_id, value)], name
        assert paul.value(f"get_best_performing_campaigns_{name}_metrics", limit=1, **PERIOD) == value
    assert paul("get_campaigns_summary", campaign_id=campaign_id) == {
        "click": 3, "trial": 2, "paid": 1, "earnings": earned,
    }  # fmt: skip
    cycles = {"monthly": 3.8, "annual": 69.6}
    for cycle, value in cycles.items():
        chosen = {"campaign_id": campaign_id, "billing_cycle": cycle, **PERIOD}
        assert paul.value("get_campaigns_earnings_metric", **chosen) == value
        assert paul.total("get_campaigns_earnings_report", aggregation="day", **chosen) == value
    assert paul.value("get_campaigns_earnings_metric", campaign_id="pp_spring-sale", **PERIOD) == earned
    rows = paul("get_performance_report")["result"]
    names = ("clicks", "trials", "qls", "paid", "commission")
    assert [round(sum(row[name] for row in rows), 2) for name in names] == [3, 3, 1, 1, earned]
    assert {(row["campaign_name"], row["utm_campaign"], row["utm_medium"], row["utm_term"]) for row in rows} == {
        ("Spring sale", "pp_spring-sale", "", ""), ("Spring sale", "pp_spring-sale", "mail", "chat app"),
        ("LiveChat default link", "", "", ""),
    }  # fmt: skip
    licenses = paul("get_affiliate_licenses", **PERIOD)["result"]
    assert sorted((one["campaign_name"], one["paid"], one["ql"], one["earnings"]) for one in licenses) == [
        ("LiveChat default link", False, False, 0), ("Spring sale", False, True, 0),
        ("Spring sale", True, False, earned),
    ]  # fmt: skip
    [trial] = [one for one in licenses if one["ql"]]
    ends, began = (datetime.fromisoformat(trial[name]) for name in ("end_timestamp", "creation_timestamp"))
    assert ends - began == timedelta(days=30), "the deal's trial"
    assert paul("get_summary") == {"trials": 2, "paid": 1, "expired": 0}


def switch_off(paul: Tool, journey: Journey, campaign_id: str) -> None:
    """The campaign ends: who follows its link still arrives and is Paul's, but is offered nothing."""
    [running] = paul("get_campaigns")["result"]
    paul("disable_campaign", campaign_id=campaign_id)
    paul("disable_campaign", campaign_id=campaign_id, refused=403)
    late, answer = follow(journey, running["short_url"])
    assert urlsplit(answer.location).path == "/" and answer.query["a"] == paul.partner_id
    answer = journey.sign_up("late", visitor_id=late.id)
    assert (answer["attribution"]["partner_id"], answer["deal"]) == (paul.partner_id, None)
    assert paul("get_campaigns")["result"] == []
    assert paul("search_campaigns", page=1, state="archived")["total"] == 1


def recruiter(rita: Tool, journey: Journey) -> None:
    """Rita sees what Paul brings her, and nothing else of him."""
    journey.attributed()
    earned = rita.earned(tier=2)
    assert earned == (145 - 50 + 1740) / 100
    [paul] = rita("get_partners_referred")["result"]
    assert (paul["partner_id"], paul["commission"], paul["total_trials"], paul["total_paid"]) == (
        journey.id("paul"), earned, 4, 1,
    )  # fmt: skip
    assert paul["campaign_name"] == "Partner Program default link"
    assert rita.value("get_referred_partners_commission_metrics", **PERIOD) == earned
    assert rita.value("get_referred_partners_commission_metrics", program="solution", **PERIOD) == 0
    assert rita.total("get_partners_referred_earnings_report", aggregation="month", **PERIOD) == earned
    assert rita.value("get_earnings_metrics", product="partner_program", **PERIOD) == earned


def clients(paul: Tool, journey: Journey) -> None:
    """Paul runs a client's license, pays for it, and hands it over."""
    email = f"client.{journey.key}@client.example"
    client = {"client_name": "Carla Client", "client_email": email}
    made = paul("create_organization", {"organization_name": "Acme", **client, "data_center": "eu-west3"})
    organization = {"organization_id": made["id"]}
    assert paul("get_organization_details", **organization)["data_center"] == "eu-west3"
    license_id = paul("create_license", {**client, "payment_origin": "partner"}, product="livechat", **organization)[
        "license"
    ]
    [held] = paul("get_organization_licenses", **organization)["results"]
    assert held["licenses"] == [{"external_license_id": license_id, "product": "livechat"}]
    license = {"product": "livechat", "license_id": license_id}
    paul("update_license_details", {"client_name": "Carla C. Client", "purchase_order": "PO-1"}, **license)
    invited = paul("invite_license_operators", {"operators": [{"email": email, "role": "administrator"}]}, **license)
    assert [one["status_code"] for one in invited["result"]] == [200]
    terms = {"plan": "team", "billing_cycle": "monthly", "seats": 2}
    paul("create_subscription", terms, **license)
    paul("update_subscription", {**terms, "seats": 3}, **license)
    payment = {"payment_id": journey.id("seats"), "license_id": license_id, "amount_cents": 2320, "currency": "USD"}
    journey.call("/v1/payments", payment)
    journey.attributed()
    details = paul("get_license_details", **license)
    assert (details["client_name"], details["seats"], details["paid"]) == ("Carla C. Client", 3, True)
    assert (details["total_discount"], details["total_commission"]) == (5.8, 0), "R6: the partner pays 20 % less"
    assert license_id in [one["license"] for one in paul("get_solution_licenses", **PERIOD)["result"]]
    paid = paul("get_solution_licenses_by_status", status="paid", **PERIOD)
    assert [one["license_id"] for one in paid["results"]] == [license_id]
    paul("close_subscription", {"expire": False}, **license)
    handed = paul("transfer_license", {"new_owner": email}, **license)
    assert handed["payment_origin"] == "client"
    journey.call("/v1/payments", {**payment, "payment_id": journey.id("own"), "amount_cents": 2900})


def earnings(paul: Tool, rita: Tool) -> None:
    """The account's figures are the ledger's too."""
    assert paul.earned() == (580 - 200 + 6960 + 580) / 100 and rita.earned() == (145 - 50 + 1740 + 116 + 145) / 100
    for tool in (paul, rita):
        found = tool("get_earnings")
        assert found["commission_total"] == tool.earned() == found["balance"]
        parts = (found["affiliate"]["commission_total"], found["solution"]["commission_total"])
        assert round(sum(parts), 2) == tool.earned()
        assert parts[0] == tool.value("get_earnings_metrics", **PERIOD)
        assert tool.value("get_commission_metric") == tool.earned()
        assert tool.total("get_commission_report", aggregation="week", **PERIOD) == tool.earned()
    assert paul("get_earnings")["solution"]["livechat"]["discount"] == 5.8
    stats = paul("get_stats")
    assert stats["affiliate"]["livechat"] == {"trials": 3, "trials_cc": 0, "paid": 1}
    assert stats["solution"]["livechat"]["paid"] == 1
    assert rita("get_stats")["affiliate"]["partner_program"]["partners_referred"] == 1


def withdraw(paul: Tool) -> None:
    """Paul has his money paid out."""
    billing = {"type": "individual", "company": "Paul P", "address": "1 Road", "city": "York", "country": "GB"}
    paul("request_withdrawal", refused=409)
    paul("update_billing", {**billing, "paypal": "paul@pay.example"})
    assert paul("get_billing")["paypal"] == "paul@pay.example"
    asked = paul("request_withdrawal")
    assert asked["amount"] == paul.earned() and asked["status"] == "pending"
    assert paul("get_withdrawals")["result"] == [asked]
    balance = paul("get_balance")
    assert (balance["pending"], balance["available"], balance["withdrawn"]) == (paul.earned(), 0, 0)
    assert balance["total"] == f"{paul.earned():.2f}"
