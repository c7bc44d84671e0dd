"""Campaigns and an affiliate's results over the Partner API, on the history of world.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import world
from running_app import App

from attribution.loader import Loader
from attribution.rebuild import rebuild_redis
from reports.campaigns import Campaigns, landing_page, long_url
from tracker import redis_keys
from tracker.campaigns import BUILT_IN_FROM, Campaign, built_in_campaign, slug_of
from tracker.program import Program

AFFILIATES = "/affiliates"
CAMPAIGNS = "/affiliates/campaigns"
YEAR = {"date_from": "2026-01-01", "date_to": "2026-02-10"}


def start(app: App, name: str, who: str = "P", status: int = 201, **fields: Any) -> Any:
    product = {"product": "livechat"} if "product" not in fields else {}
    return app.partner_api("POST", CAMPAIGNS, who, status=status, body={**product, "name": name, **fields})


def search(app: App, who: str = "P", state: str = "active", **query: Any) -> Any:
    return app.partner_api("GET", f"{CAMPAIGNS}/search", who, page=query.pop("page", 1), state=state, **query)


def value(app: App, path: str, who: str = "P", **query: Any) -> Any:
    return app.partner_api("GET", f"{AFFILIATES}{path}", who, **{**YEAR, **query})["value"]


@pytest.mark.parametrize(
    ("name", "taken", "slug"),
    [
        ("Spring sale", (), "pp_spring-sale"),
        ("Spring  SALE!", ("pp_spring-sale",), "pp_spring-sale-2"),
        ("Größe & Çafé", (), "pp_grosse-cafe"),
        ("春のセール大", (), "pp_campaign"),
        ("夏のセール大", ("pp_campaign", "pp_campaign-2"), "pp_campaign-3"),
        ("x" * 100, (), "pp_" + "x" * 64),
    ],
)
def test_slugs(name: str, taken: tuple[str, ...], slug: str) -> None:
    assert slug_of(name, taken) == slug


def test_a_campaign_of_a_product_that_the_program_has_no_more() -> None:
    program = Program()
    built_in = [built_in_campaign("P", 1, product, "") for product in program.products.values()]
    old = Campaign(id=7, partner_id="P", slug="pp_old", name="Old one", product="gone", code="c", created_at=1)
    campaigns = Campaigns(built_in, [old], program.default_product)
    assert campaigns.of("pp_old", "gone") is old and campaigns.of("", "gone").product == "livechat"
    assert landing_page(old, program) == "https://www.livechat.com/"
    assert long_url(old, program) == "https://www.livechat.com/?a=P&utm_source=PP&utm_campaign=pp_old"


def test_a_campaign_is_started_listed_and_switched_off(app: App) -> None:
    made = start(
        app, " Spring sale ", link="https://www.livechat.com/pricing/?plan=team#top", trial_duration=30, coupon_id=1
    )
    assert made["slug"] == "pp_spring-sale" and made["name"] == "Spring sale" and made["product"] == "livechat"
    assert (
        made["url"] == "https://www.livechat.com/pricing/?plan=team&a=P&utm_source=PP&utm_campaign=pp_spring-sale#top"
    )
    assert made["creation_timestamp"] == "2026-02-10 12:00:00"
    assert made["trial_duration"] == 30 and made["discount"] == "10% off for a year"
    code = made["short_url"].rpartition("/")[2]
    link = json.loads(app.redis.hget(redis_keys.LINKS, code) or b"")
    assert link == {
        "partner_id": "P", "product": "livechat", "campaign": "pp_spring-sale",
        "landing_url": "https://www.livechat.com/pricing/?plan=team#top",
    }  # fmt: skip
    assert [one["slug"] for one in app.partner_api("GET", CAMPAIGNS)["result"]] == ["pp_spring-sale"]
    assert app.partner_api("GET", CAMPAIGNS)["result"][0]["active"] is True
    assert app.partner_api("GET", CAMPAIGNS, "Q")["result"] == []
    [found] = search(app, filters='[{"field":"slug","operator":"equals","value":"pp_spring-sale"}]')["results"]
    for wrong in (found["id"], "pp_spring-sale"):
        app.partner_api("DELETE", f"{CAMPAIGNS}/{wrong}", "Q", status=404)
    app.partner_api("DELETE", f"{CAMPAIGNS}/{found['id']}", status=204)
    app.partner_api("DELETE", f"{CAMPAIGNS}/pp_spring-sale", status=403)
    assert app.partner_api("GET", CAMPAIGNS)["result"] == []
    assert app.partner_api("GET", CAMPAIGNS, state="disabled")["result"][0] == {"active": False, **made}
    assert [one["id"] for one in search(app, state="archived")["results"]] == [found["id"]]
    assert json.loads(app.redis.hget(redis_keys.LINKS, code) or b"")["landing_url"] == "", "to the home page"
    start(app, "Spring sale", status=409)
    assert start(app, "spring SALE")["slug"] == "pp_spring-sale-2", "another name with the same slug"


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": "1234"}, 400, "name"),
        ({"name": " 1234 "}, 400, "name"),
        ({"name": "x" * 101}, 400, "name"),
        ({"product": "unheard-of"}, 400, "product"),
        ({"product": ""}, 400, "product"),
        ({"link": "https://evil.example/"}, 400, "link"),
        ({"link": "/pricing"}, 400, "link"),
        ({"link": "https://www.livechat.com@evil.example/"}, 400, "link"),
        ({"link": "https://www.livechat.com.evil.example/"}, 400, "link"),
        ({"trial_duration": 13}, 400, "trial_duration"),
        ({"trial_duration": 61}, 400, "trial_duration"),
        ({"trial_duration": 14.5}, 400, "trial_duration"),
        ({"coupon_id": "1"}, 400, "coupon_id"),
        ({"coupon_id": 2}, 403, "coupon_id"),
    ],
)
def test_a_campaign_that_cannot_be(app: App, fields: dict[str, Any], status: int, field: str) -> None:
    answer = start(app, fields.pop("name", "A campaign"), status=status, **fields)
    assert [error["field"] for error in answer["errors"]] == [field]


def test_the_query_names_the_product_before_the_body_does(app: App) -> None:
    made = app.partner_api(
        "POST", CAMPAIGNS, "Q", status=201, body={"name": "Which one", "product": "livechat"}, product="partner_program"
    )
    assert made["product"] == "partner_program" and made["url"].startswith("https://partners.livechat.com/?")
    answer = app.send(
        "POST", f"/v2/partners{CAMPAIGNS}", app.tokens["Q"],
        form={"name": "By a form", "product": "livechat", "trial_duration": "20"},
    )  # fmt: skip
    assert (answer.status, answer.json["trial_duration"]) == (201, 20), answer.text
    app.partner_api("POST", CAMPAIGNS, "Q", status=400, body={"name": "No product"})


def test_a_page_beyond_the_last_is_empty(app: App) -> None:
    for page in (1_000, 10**17):
        found = app.partner_api("GET", f"{CAMPAIGNS}/search", page=page, state="active")
        assert found["results"] == [] and found["total"] >= 2
    app.partner_api("GET", f"{CAMPAIGNS}/search", page="9" * 30, state="active", status=400)


def test_search_pages_filters_and_sorts(app: App) -> None:
    for number in range(20):
        start(app, f"Number {number:02}", "S")
    first, second, third = (search(app, "S", page=page, sort_order="asc") for page in (1, 2, 3))
    assert (first["total"], first["limit"]) == (22, 15) and len(first["results"]) == 15
    names = [one["name"] for one in first["results"] + second["results"]]
    assert len(names) == 22 and names[2:] == [f"Number {number:02}" for number in range(20)]
    assert [one["is_default"] for one in first["results"][:3]] == [True, True, False]
    assert third["results"] == []
    assert [one["name"] for one in search(app, "S")["results"]] == names[:6:-1], "newest first unless told otherwise"
    assert search(app, "S", product="partner_program")["total"] == 1

    def filtered(*filters: tuple[str, str, Any]) -> Any:
        given = [dict(zip(("field", "operator", "value"), one, strict=True)) for one in filters]
        return search(app, "S", filters=json.dumps(given))["total"]

    assert filtered() == 22 and filtered(("is_default", "equals", False)) == 20
    assert filtered(("name", "contains", "BER 1"), ("product", "equals", "livechat")) == 10
    for field, operator, wrong in (
        ("price", "equals", 1), ("name", "matches", "x"), ("name", "equals", 1), ("is_default", "equals", "true"),
    ):  # fmt: skip
        given = [{"field": field, "operator": operator, "value": wrong}]
        app.partner_api("GET", f"{CAMPAIGNS}/search", status=400, page=1, state="active", filters=json.dumps(given))


def test_built_in_campaigns_have_numbers_of_their_own_for_good(app: App) -> None:
    built_in = [one for one in search(app, "Q")["results"] if one["is_default"]]
    expected = [
        built_in_campaign("Q", world.START, product, "").id for product in reversed(Program().products.values())
    ]
    assert sorted(one["id"] for one in built_in) == sorted(expected)
    assert all(BUILT_IN_FROM <= number < 2 * BUILT_IN_FROM for number in expected)
    links = app.partner_api("GET", "/affiliates/links", "Q")
    assert links == {
        "livechat": {
            "url": "https://www.livechat.com/?a=Q&utm_source=PP", "short_url": "http://localhost:8000/lcQ",
        },
        "partner_program": {
            "url": "https://partners.livechat.com/?a=Q&utm_source=PP", "short_url": "http://localhost:8000/ppQ",
        },
    }  # fmt: skip
    app.partner_api("DELETE", f"{CAMPAIGNS}/{expected[0]}", "Q", status=403)


def test_metrics_are_the_ledgers_and_the_overviews(app: App) -> None:
    assert (value(app, "/metrics/clicks"), value(app, "/metrics/trials")) == (5, 2), "clicks 10, 11, 20, 40, 50; L1, L3"
    assert value(app, "/metrics/conversions") == 2
    assert value(app, "/metrics/earnings") == 3.8, "5.80 less 2.00; solution licenses are another program's"
    assert value(app, "/metrics/earnings", "Q") == 8.11 and value(app, "/metrics/clicks", "Q") == 1
    assert value(app, "/metrics/earnings", "Q", product="partner_program") == 8.11, "the second tier"
    assert value(app, "/metrics/earnings", "Q", product="livechat") == 0
    overview = app.get("/v2/partners/overview?date_from=2026-01-01&date_to=2026-02-10", app.tokens["P"]).json
    assert overview["totals"]["clicks"] == 5
    # S is suspended from day 10 on: click 21 counts, click 31 does not.
    assert value(app, "/metrics/clicks", "S") == 1 and value(app, "/metrics/trials", "S") == 1


def test_periods_are_exact_to_the_second(app: App) -> None:
    # Click 10 is on day 20 at midnight, 11 at noon.
    one_day = {"date_from": "2026-01-21", "date_to": "2026-01-21"}
    assert value(app, "/metrics/clicks", **one_day) == 2
    assert value(app, "/metrics/clicks", date_from="2026-01-21T00:00:01Z", date_to="2026-01-21") == 1
    assert value(app, "/metrics/clicks", date_from="2026-01-21", date_to="2026-01-21T11:59:59Z") == 1
    assert value(app, "/metrics/clicks", date_from="2026-01-21", date_to="2026-01-21T12:00:00Z") == 2
    assert value(app, "/metrics/trials", date_from="2026-01-22", date_to="2026-01-22T00:00:00Z") == 1
    assert value(app, "/metrics/trials", date_from="2026-01-22T00:00:01Z", date_to="2026-01-22") == 0
    assert value(app, "/metrics/conversions", date_from="2026-01-25", date_to="2026-01-25") == 1, "the first payment"
    assert value(app, "/metrics/earnings", date_from="2026-01-31", date_to="2026-01-31") == -2, "the refund"


@pytest.mark.parametrize("aggregation", ["day", "week", "month"])
@pytest.mark.parametrize("result", ["clicks", "trials", "conversions", "earnings"])
def test_reports_add_up_to_metrics(app: App, result: str, aggregation: str) -> None:
    path = f"/affiliates/reports/{result}"
    items = app.partner_api("GET", path, aggregation=aggregation, **YEAR)["items"]
    assert len(items) == {"day": 41, "week": 7, "month": 2}[aggregation]
    assert round(sum(item["total"] for item in items), 2) == value(app, f"/metrics/{result}")
    narrow = app.partner_api("GET", path, aggregation=aggregation, product="partner_program", **YEAR)["items"]
    assert [item["date_range"] for item in narrow] == [item["date_range"] for item in items]
    assert sum(item["total"] for item in narrow) == 0


def test_reports_reach_back_a_year(app: App) -> None:
    old = {"date_from": "2020-01-01", "date_to": "2026-02-10", "aggregation": "month"}
    items = app.partner_api("GET", "/affiliates/reports/clicks", **old)["items"]
    assert items[0]["date_range"] == {"from": "2025-02-01 00:00:00", "to": "2025-02-28 23:59:59"}
    assert len(items) == 13
    gone = {**old, "date_to": "2020-02-01"}
    assert app.partner_api("GET", "/affiliates/reports/clicks", **gone)["items"] == []


def test_campaigns_share_out_all_there_is(app: App) -> None:
    results = search(app)
    assert results["value"] == value(app, "/metrics/earnings") == 3.8
    [default] = [one for one in results["results"] if one["is_default"] and one["product"] == "livechat"]
    path = f"{CAMPAIGNS}/{default['id']}"
    assert app.partner_api("GET", f"{path}/summary") == {"click": 5, "trial": 2, "paid": 2, "earnings": 3.8}
    assert app.partner_api("GET", f"{path}/metrics/earnings", **YEAR) == {"value": 3.8}
    assert app.partner_api("GET", f"{path}/metrics/earnings", billing_cycle="annual", **YEAR) == {"value": 0}
    items = app.partner_api("GET", f"{path}/reports/earnings", billing_cycle="monthly", aggregation="month", **YEAR)[
        "items"
    ]
    assert [item["total"] for item in items] == [3.8, 0]
    best = f"{CAMPAIGNS}/best-performing"
    for result, expected in (("clicks", 5), ("trials", 2), ("conversions", 2), ("earnings", 3.8)):
        limit = {"limit": 3, **YEAR}
        assert app.partner_api("GET", f"{best}/reports/{result}", **limit)["items"] == [
            {"id": default["id"], "name": "LiveChat default link", "value": expected, "product": "livechat"}
        ]
        assert app.partner_api("GET", f"{best}/metrics/{result}", **limit) == {"value": expected}
    assert app.partner_api("GET", f"{best}/reports/earnings", "Q")["items"][0]["product"] == "partner_program"


def test_lists(app: App) -> None:
    licenses = app.partner_api("GET", "/affiliates/licenses")["result"]
    assert [(one["creation_timestamp"], one["earnings"], one["commission_percent"]) for one in licenses] == [
        ("2026-01-28 00:00:00", 0, 0), ("2026-01-22 00:00:00", 3.8, 20),
    ]  # fmt: skip
    assert licenses[1] == {
        "campaign_name": "LiveChat default link", "utm_campaign": "", "utm_medium": "", "utm_content": "",
        "utm_term": "", "product": "livechat", "creation_timestamp": "2026-01-22 00:00:00",
        "end_timestamp": "2026-02-25 00:00:00", "active": True, "ql": True, "cc_added": True, "paid": True,
        "commission_percent": 20, "earnings": 3.8, "blocked": False,
    }  # fmt: skip
    assert app.partner_api("GET", "/affiliates/summary") == {"trials": 0, "paid": 2, "expired": 0}
    [referred] = app.partner_api("GET", "/affiliates/partners-referred", "Q")["result"]
    assert referred == {
        "campaign_name": "Partner Program default link", "utm_campaign": "", "utm_medium": "", "utm_content": "",
        "utm_term": "", "partner_id": "P", "creation_timestamp": "2026-01-03 00:00:00", "active_trials": 0,
        "active_trials_cc_added": 0, "total_trials": 4, "active_paid": 4, "total_paid": 4, "commission": 8.11,
    }  # fmt: skip
    commission = "/partners-referred/metrics/commission"
    assert app.partner_api("GET", commission, "Q") == {"value": 8.11}
    parts = [app.partner_api("GET", commission, "Q", program=name)["value"] for name in ("affiliate", "solution")]
    assert round(sum(parts), 2) == 8.11 and parts[0] == 0.95


def test_performance_adds_up_to_metrics(app: App) -> None:
    rows = app.partner_api("GET", "/affiliates/performance")["result"]
    for name, metric in (("clicks", "clicks"), ("trials", "trials"), ("paid", "conversions")):
        assert sum(row[name] for row in rows) == value(app, f"/metrics/{metric}"), name
    assert round(sum(row["commission"] for row in rows), 2) == 3.8 and sum(row["qls"] for row in rows) == 1
    assert {row["campaign_name"] for row in rows} == {"LiveChat default link", "=spring", "spring"}
    [row] = app.partner_api("GET", "/affiliates/performance", "Q")["result"]
    assert (row["product"], row["clicks"], row["partners_referred"], row["commission"]) == (
        "partner_program",
        1,
        1,
        8.11,
    )
    assert (
        app.partner_api("GET", "/affiliates/performance", date_from="2026-02-10", date_to="2026-02-10")["result"] == []
    )


def test_a_rebuild_restores_campaigns_links_and_deals(app: App) -> None:
    made = start(app, "Kept for good", link="https://www.livechat.com/pricing/", coupon_id=1)
    app.partner_api("DELETE", f"{CAMPAIGNS}/{start(app, 'Kept and off', trial_duration=20)['slug']}", status=204)
    loader = Loader(app.redis, app.warehouse, Program(), lambda: world.NOW)
    while loader.load_once():
        pass
    lost = (redis_keys.CAMPAIGNS, redis_keys.CAMPAIGN_LISTS, redis_keys.DEALS, redis_keys.LINKS, redis_keys.COUNTERS)
    before: list[Any] = [app.redis.hgetall(name) for name in lost[:4]]
    app.redis.delete(*lost)
    rebuild_redis(app.redis, app.warehouse, Program(), world.NOW)
    after: list[Any] = [app.redis.hgetall(name) for name in lost[:4]]
    assert after[:3] == before[:3] and before[3].items() <= after[3].items(), "and the partners' own links"
    assert start(app, "Begun afterwards")["id"] > made["id"]


def test_a_campaign_has_what_came_by_it_and_nothing_else(app: App) -> None:
    """The last test: it adds to the history."""
    made = start(app, "Newsletter", "Q", link="https://www.livechat.com/features/")
    slug = made["slug"]
    visit = {"campaign": slug, "landing_query": "utm_medium=e%2Dmail&sub=7&utm_content=top+banner"}
    facts = [
        world.click(900, "Q", 30, 900, **visit),
        world.signup("N1", 31, 900, "new@client.example"),
        replace(world.paid("n1", "N1", 32, 30_000), billing_cycle="annual"),
        replace(world.paid("n2", "N1", 33, 1_000), billing_cycle="monthly"),
        world.paid("n3", "N1", 34, 2_000),
        # By Q's own link, and by a campaign that only an import knows.
        world.click(901, "Q", 30, 901),
        world.click(902, "Q", 30, 902, campaign="old campaign"),
        world.signup("N2", 31, 902, "other@client.example"),
        world.stage("N2", "expired", 35),
    ]
    newest = app.warehouse.rows("select max(load_id) as load_id from loads")[0]["load_id"]
    world.load(app.warehouse, *facts, load_id=newest + 1)
    summary = app.partner_api("GET", f"{CAMPAIGNS}/{slug}/summary", "Q")
    assert summary == {"click": 1, "trial": 1, "paid": 1, "earnings": 66}
    for cycle, cents in (("annual", 60), ("monthly", 6)):
        query = {"billing_cycle": cycle, **YEAR}
        assert app.partner_api("GET", f"{CAMPAIGNS}/{slug}/metrics/earnings", "Q", **query) == {"value": cents}
        path = f"{CAMPAIGNS}/{slug}/reports/earnings"
        items = app.partner_api("GET", path, "Q", aggregation="week", **query)["items"]
        assert sum(item["total"] for item in items) == cents
    best = app.partner_api("GET", f"{CAMPAIGNS}/best-performing/reports/trials", "Q", limit=5, **YEAR)["items"]
    built_in = next(one for one in search(app, "Q", product="livechat")["results"] if one["is_default"])
    assert [(one["id"], one["value"]) for one in best] == sorted([(made["id"], 1), (built_in["id"], 1)]), "ties by id"
    assert search(app, "Q")["value"] == value(app, "/metrics/earnings", "Q") == 66 + 8.11
    rows = app.partner_api("GET", "/affiliates/performance", "Q")["result"]
    names = ("campaign_name", "utm_campaign", "utm_medium", "utm_content")
    tags = {tuple(row[name] for name in names): row["clicks"] for row in rows}
    assert tags == {
        ("Newsletter", slug, "e-mail", "top banner"): 1, ("LiveChat default link", "", "", ""): 1,
        ("old campaign", "old campaign", "", ""): 1, ("Partner Program default link", "", "", ""): 1,
    }  # fmt: skip
    newest = app.partner_api("GET", "/affiliates/licenses", "Q")["result"]
    assert {(one["campaign_name"], one["active"], one["end_timestamp"]) for one in newest} == {
        ("Newsletter", True, "2026-03-04 00:00:00"), ("old campaign", False, "2026-02-05 00:00:00"),
    }  # fmt: skip
    assert app.partner_api("GET", "/affiliates/summary", "Q") == {"trials": 0, "paid": 1, "expired": 1}
    page = app.get("/partner/campaigns", cookie=app.sign_in(app.tokens["Q"])).text
    assert "Newsletter" in page and "$66.00" in page
