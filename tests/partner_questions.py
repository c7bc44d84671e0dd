"""What to ask the calls of a partner, with what must be in their answers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from tests.partner_answers import Answers
from tests.partner_figures import BRINGS_PARTNERS, RESULTS, SOLD, Account
from tests.periods import AGGREGATIONS, Span, day_of, whole_days

LIMITS = (1, 2, 100)

Question = tuple[str, Any]
"""The target of a GET, and what must be in its answer; see `unlike`."""


def questions(
    answers: Answers, partner_id: str, account: Account, spans: Sequence[Span], chance: random.Random
) -> Iterator[Question]:
    """Every call with figures of a partner, once; periods, products, programs, aggregations and limits as `chance`
    has them. The first of `spans` has all of the history."""
    of_all = spans[0]
    product = chance.choice(("all", SOLD, BRINGS_PARTNERS))
    program = chance.choice(("all", "affiliate", "solution"))
    aggregation = chance.choice(AGGREGATIONS)
    span = chance.choice(spans)

    def ask(path: str, expected: Any, **query: object) -> Question:
        return f"/v2/partners{path}" + (f"?{urlencode(query)}" if query else ""), expected

    yield ask("/balance", answers.balance(partner_id, account))
    yield ask("/earnings", answers.earnings(partner_id, account))
    yield ask("/stats", answers.stats(partner_id))
    filters = [
        {"field": name, "operator": "equals", "value": value}
        for name, value in (("product", product), ("program", program))
        if value != "all"
    ]
    commission = answers.commission(partner_id, product, program, referred=False)
    yield ask(
        "/reports/commission", answers.report(span, aggregation, commission, 100),
        **span.query, aggregation=aggregation, filters=json.dumps(filters),
    )  # fmt: skip
    chosen = {"product": product, "program": program}
    for path, moments in (
        ("/metrics/commission", commission),
        ("/partners-referred/metrics/commission", answers.commission(partner_id, product, program, referred=True)),
    ):
        yield ask(
            path, {"value": sum(cents for moment, cents in moments if moment in span) / 100}, **span.query, **chosen
        )
    yield ask(
        "/partners-referred/reports/commission",
        answers.report(span, aggregation, answers.commission(partner_id, product, program, referred=True), 100),
        **span.query, aggregation=aggregation, **chosen,
    )  # fmt: skip
    yield from _affiliate_questions(answers, partner_id, account, span, aggregation, product, ask, chance)
    yield ask("/affiliates/summary", answers.summary(partner_id))
    yield ask("/affiliates/licenses", answers.license_rows(partner_id, span, account), **span.query)
    yield ask("/affiliates/performance", answers.performance(partner_id, span, account), **span.query)
    yield ask("/affiliates/partners-referred", answers.referred_rows(partner_id, account))
    created = answers.created(partner_id)
    yield ask(
        "/solutions/licenses",
        {"result": [answers.solution_license(one) for one in created if one.created_at in span]},
        **span.query,
    )
    state = chance.choice(("trial", "paid", "expired"))
    of_state = [one for one in created if answers.state(one.license_id) == state]
    yield ask(
        f"/solutions/licenses/{state}",
        {"results": [{"license_id": one.license_id, "status": state} for one in of_state]},
        **of_all.query, limit=15,
    )  # fmt: skip
    for one in created[:1]:
        yield ask(f"/solutions/licenses/{SOLD}/{one.license_id}", answers.solution_details(one))
    year = whole_days(day_of(of_all.begins), day_of(of_all.begins) + timedelta(days=364))
    yield ask("/overview", answers.overview(partner_id, year, account), **year.query)


def _affiliate_questions(
    answers: Answers, partner_id: str, account: Account, span: Span, aggregation: str, product: str,
    ask: Callable[..., Question], chance: random.Random,
) -> Iterator[Question]:  # fmt: skip
    """Clicks, trials, conversions and earnings: over time, and by campaign."""
    for result in RESULTS:
        unit = 100 if result == "earnings" else 1
        found = answers.results(result, partner_id)
        of_product = [(at, value) for at, value, of, _ in found if product in ("all", of)]
        wanted = {} if product == "all" or result == "trials" else {"product": product}
        values = found if result == "trials" else [one for one in found if product in ("all", one[2])]
        total = sum(value for at, value, *_ in values if at in span)
        yield ask(f"/affiliates/metrics/{result}", {"value": total / unit}, **span.query, **wanted)
        report = answers.report(answers.reachable(span), aggregation, of_product, unit)
        yield ask(f"/affiliates/reports/{result}", report, **span.query, aggregation=aggregation, product=product)
        limit = chance.choice(LIMITS)
        best = answers.by_campaign(result, partner_id, span, account)[:limit]
        rows = [{"id": one.id, "name": one.name, "product": one.product, "value": v / unit} for one, v in best]
        where = "/affiliates/campaigns/best-performing"
        yield ask(f"{where}/reports/{result}", {"items": rows}, **span.query, limit=limit)
        yield ask(f"{where}/metrics/{result}", {"value": sum(v for _, v in best) / unit}, **span.query, limit=limit)
    yield from _campaign_questions(answers, partner_id, account, span, aggregation, ask, chance)


def _campaign_questions(
    answers: Answers, partner_id: str, account: Account, span: Span, aggregation: str, ask: Callable[..., Question],
    chance: random.Random,
) -> Iterator[Question]:  # fmt: skip
    """One of the partner's campaigns, and what all of them earned."""
    campaign = chance.choice(account.campaigns)
    sums = {
        result: sum(
            value
            for _, value, _, link in answers.results(result, partner_id)
            if account.campaign(link.slug, link.product) == campaign
        )
        for result in RESULTS
    }
    yield ask(
        f"/affiliates/campaigns/{chance.choice((campaign.id, campaign.slug))}/summary",
        {
            "click": sums["clicks"],
            "trial": sums["trials"],
            "paid": sums["conversions"],
            "earnings": sums["earnings"] / 100,
        },
    )
    cycle = chance.choice(("monthly", "annual"))
    earned = [
        (line.occurred_at, line.cents)
        for line in answers.lines[partner_id]
        if answers.earned_with(line)[0] == "affiliate"
        and (answers.payments[line.payment_id].billing_cycle or "monthly") == cycle
        and account.campaign(answers.line_link(line).slug, answers.line_link(line).product) == campaign
    ]
    where, chosen = f"/affiliates/campaigns/{campaign.id}", {**span.query, "billing_cycle": cycle}
    yield ask(f"{where}/metrics/earnings", {"value": sum(c for at, c in earned if at in span) / 100}, **chosen)
    yield ask(
        f"{where}/reports/earnings", answers.report(span, aggregation, earned, 100), **chosen, aggregation=aggregation
    )
    everything = sum(value for _, value, *_ in answers.results("earnings", partner_id))
    yield ask(
        "/affiliates/campaigns/search",
        {"value": everything / 100, "total": len(account.campaigns)},
        page=1, state="active",
    )  # fmt: skip


def unlike(told: Any, expected: Any, where: str = "") -> list[str]:
    """How an answer differs from what must be in it: all of a list, and of an object the fields that are named."""
    if isinstance(expected, Mapping):
        if not isinstance(told, Mapping):
            return [f"{where} is {told!r}"]
        return [one for name, value in expected.items() for one in unlike(told.get(name), value, f"{where}.{name}")]
    if isinstance(expected, list):
        if not isinstance(told, list) or len(told) != len(expected):
            return [f"{where} is {told!r}, not {expected!r}"]
        pairs = enumerate(zip(told, expected, strict=True))
        return [one for number, (left, right) in pairs for one in unlike(left, right, f"{where}[{number}]")]
    return [] if told == expected else [f"{where} is {told!r}, not {expected!r}"]
