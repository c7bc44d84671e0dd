"""The report of multi-touch models on the hand-made history of world.py, as JSON, CSV and page."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from running_app import App

from attribution import markov
from reports.marketing import models as report

Table = dict[str, dict[str, tuple[float, int]]]


def asked(app: App, query: str = "") -> Any:
    answer = app.get(f"/v2/reports/models?{query}", app.tokens["marketing"])
    assert answer.status == 200, answer.text
    return answer.json


def table(app: App, query: str = "") -> Table:
    """Model → group → conversions and revenue."""
    found: Table = {}
    for item in asked(app, query)["items"]:
        assert tuple(item) == report.COLUMNS
        found.setdefault(item["model"], {})[item["group"]] = (item["conversions"], item["revenue_cents"])
    return found


# Three signups were won by clicks: L1 after P, P (1900 net), L2 after P a day before S (1000), L3 after P (5000).
# Lost are Q's click (the visitor became a partner) and P's last.
def test_every_model_by_partner(app: App) -> None:
    found = table(app)
    assert tuple(found) == report.MODELS
    nothing_for_q = {"Q": (0, 0)}
    assert found["last"] == {"P": (2, 6900), "S": (1, 1000)} | nothing_for_q
    assert found["first"] == {"P": (3, 7900), "S": (0, 0)} | nothing_for_q
    for model in ("linear", "position"):
        assert found[model] == {"P": (2.5, 7400), "S": (0.5, 500)} | nothing_for_q
    # A day older weighs 2^(−1/7) = 0.90572: 0.47526 of the path is P's.
    assert found["time_decay"] == {"P": (2.4753, 7375), "S": (0.5247, 525)} | nothing_for_q
    # Every signup passes through P: removal effects 1 and 1/4 of 4 journeys through P, of which one goes on to S.
    assert found["markov"]["P"][0] == pytest.approx(3 * 1 / (1 + 1 / 3), abs=1e-4)
    assert found["markov"]["S"][0] == pytest.approx(3 * (1 / 3) / (1 + 1 / 3), abs=1e-4)


def test_differences_are_to_the_last_touch_and_all_is_shared_out(app: App) -> None:
    answer = asked(app, "by=partner&order=2")
    last = {item["group"]: item for item in answer["items"] if item["model"] == "last"}
    for model in report.MODELS:
        items = [item for item in answer["items"] if item["model"] == model]
        assert sum(item["conversions"] for item in items) == pytest.approx(3, abs=1e-3)
        assert sum(item["revenue_cents"] for item in items) == 7900
        for item in items:
            before = last[item["group"]]
            assert item["difference_conversions"] == pytest.approx(item["conversions"] - before["conversions"])
            assert item["difference_revenue_cents"] == item["revenue_cents"] - before["revenue_cents"]
    assert answer["paths"] == {
        "conversions": 3, "nulls": 2, "null_shares": 1, "shortened": 0, "paths_left_out": 0,
        "conversions_left_out": 0, "distinct": 4, "revenue_cents": 7900,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("by=campaign&model=first", {"": (2, 6000), "=spring": (1, 1900), "spring": (0, 0)}),
        ("by=product&model=last", {"livechat": (3, 7900), "partner_program": (0, 0)}),
        ("by=product&model=last&product=partner_program", {"partner_program": (0, 0)}),
        ("by=partner&model=last&conversion=paid", {"P": (2, 6900), "S": (1, 1000), "Q": (0, 0)}),
        ("model=last&date_from=2026-01-10&date_to=2026-01-10", {"S": (1, 1000), "P": (0, 0)}),
        ("model=time_decay&half_life_days=1&date_to=2026-01-10", {"S": (0.6667, 667), "P": (0.3333, 333), "Q": (0, 0)}),
        ("model=markov&date_from=2027-01-01", {}),
    ],
)
def test_filters(app: App, query: str, expected: dict[str, tuple[float, int]]) -> None:
    found = table(app, query)
    assert found == ({query.partition("model=")[2].partition("&")[0]: expected} if expected else {})


def test_the_last_touch_is_the_funnel_s(app: App) -> None:
    funnel = app.get("/v2/reports/funnel?group_by=partner", app.tokens["marketing"]).json["items"]
    trials = {item["group"]: (item["trials"], item["revenue_cents"]) for item in funnel}
    assert table(app, "model=last")["last"] == trials


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("model=best", "model"),
        ("by=day", "by"),
        ("conversion=click", "conversion"),
        ("order=0", "order"),
        ("half_life_days=0", "half_life_days"),
        ("half_life_days=nan", "half_life_days"),
        ("half_life_days=a week", "half_life_days"),
        ("date_from=soon", "date_from"),
        ("format=xml", "format"),
        ("partner_id=P", "partner_id"),
    ],
)
def test_bad_values_are_named(app: App, query: str, field: str) -> None:
    answer = app.get(f"/v2/reports/models?{query.replace(' ', '%20')}", app.tokens["admin"])
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_too_many_states_is_a_clear_message(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov, "MAX_STATES", 2)
    answer = app.get("/v2/reports/models?order=2", app.tokens["admin"])
    assert answer.status == 400 and answer.json["errors"][0]["field"] == "order"
    assert "take a lower order" in answer.json["detail"]
    assert "time_decay" in table(app, "order=2&model=time_decay"), "the other models do not mind"


def test_many_groups_are_one_to_the_markov_model_alone(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_MARKOV_CHANNELS", 2)
    found = table(app)
    assert set(found["markov"]) == {"P", "(others)"}
    assert set(found["linear"]) == {"P", "S", "Q"}
    assert sum(cents for _, cents in found["markov"].values()) == 7900
    page = app.get("/marketing/models?date_from=2026-01-01", cookie=app.sign_in(app.tokens["marketing"]))
    assert page.text.count("in others") == 2


def test_csv_has_a_line_per_group_and_model_and_is_safe(app: App) -> None:
    answer = app.get("/v2/reports/models?by=campaign&format=csv", app.tokens["marketing"])
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert 'filename="models-by-campaign.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 3 * len(report.MODELS)
    assert {row["group"] for row in rows} == {"", "'=spring", "spring"}


def test_page(app: App) -> None:
    cookie = app.sign_in(app.tokens["marketing"])
    query = "date_from=2026-01-01&date_to=2026-02-10&by=partner"
    page = app.get(f"/marketing/models?{query}&measure=revenue_cents", cookie=cookie)
    assert page.status == 200
    assert "$79.00" in page.text and "−$10.00" in page.text and "+$5.00" in page.text
    assert f"/marketing/models.csv?{query}".replace("&", "&amp;") in page.text
    for model in report.MODELS:
        assert f'href="#model-{model}"' in page.text and f'id="model-{model}"' in page.text
    assert "No conversions in this period" in app.get("/marketing/models?date_from=2027-01-01", cookie=cookie).text
    only_lost = app.get("/marketing/models?date_from=2026-02-01&date_to=2026-02-20", cookie=cookie)
    assert "Paths that ended in it without one: 1." in only_lost.text
    wrong = app.get("/marketing/models?half_life_days=-1", cookie=cookie)
    assert wrong.status == 400 and "half_life_days: must be a number of days" in wrong.text
    download = app.get("/marketing/models.csv?by=campaign&measure=conversions", cookie=cookie)
    assert download.status == 200 and "'=spring" in download.text
    assert app.get("/marketing/models", cookie=app.sign_in(app.tokens["P"])).status == 404
