"""The deal of the winning click's campaign in the answer to a signup."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tracker import redis_keys
from tracker.bodies import Reading, read_body
from tracker.campaigns import Campaign, deal_key
from tracker.directory import Directory
from tracker.events import Clicked
from tracker.ids import new_time_ordered_id, new_visitor_id
from tracker.intake import Accepted, Intake
from tracker.journal import Journal
from tracker.metrics import Metrics
from tracker.program import DAY_MS, Coupon, Program
from tracker.rfc3339 import rfc3339
from tracker.spool import Spool

pytestmark = pytest.mark.anyio

NOW_MS = time.time_ns() // 1_000_000  # touches expire by Redis's clock
COUPON = {"id": 1, "label": "10% off for a year", "discount_percent": 10}
PROGRAM = Program(coupons=(Coupon(1, "10% off for a year", 10, None), Coupon(2, "Q's own", 50, frozenset({"Q"}))))


class Shop:
    """Signups after one click each, on a Redis of its own."""

    def __init__(self, client: Redis, url: str, folder: Path) -> None:
        self.client, self.url, self.folder = client, url, folder
        self.intake = Intake(Directory(client), PROGRAM, b"s" * 32, "http://go.example", lambda: NOW_MS)

    async def accept(self, kind: str, **fields: Any) -> Accepted:
        return await self.intake.accept(read_body(kind, fields, Reading(PROGRAM, NOW_MS)))

    async def offer(self, slug: str, partner_id: str = "P", **deal: Any) -> None:
        campaign = Campaign(
            id=1, partner_id=partner_id, slug=slug, name=slug, product="livechat", code="c", created_at=0, **deal
        )
        if (entry := campaign.deal_entry()) is not None:
            await self.client.hset(redis_keys.DEALS, deal_key(partner_id, slug), entry)

    async def click(self, slug: str, partner_id: str = "P", visitor_id: str = "", ago_ms: int = DAY_MS) -> str:
        visitor_id = visitor_id or new_visitor_id()
        click = Clicked(
            click_id=new_time_ordered_id(NOW_MS - ago_ms), clicked_at=NOW_MS - ago_ms, visitor_id=visitor_id,
            partner_id=partner_id, product="livechat", campaign=slug,
        )  # fmt: skip
        journal = Journal(self.url, Spool(self.folder), PROGRAM.window_ms, lambda: NOW_MS, Metrics("0"))
        await journal.append_many([click])
        await journal.close()
        return visitor_id

    async def deal(self, license_id: str, visitor_id: str, **more: Any) -> Any:
        fields = {"license_id": license_id, "product": "livechat", "visitor_id": visitor_id, **more}
        return (await self.accept("signup", **fields)).answer["deal"]


@pytest.fixture
async def shop(empty_redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    client = Redis.from_url(empty_redis_url)
    shop = Shop(client, empty_redis_url, tmp_path)
    for name in ("P", "Q"):
        await shop.accept("partner", partner_id=name, name=name, email=f"{name}@partners.example",
                          joined_at="2025-01-01T00:00:00Z")  # fmt: skip
    yield shop
    await client.aclose()


async def test_the_winning_clicks_deal_is_in_the_answer(shop: Shop) -> None:
    await shop.offer("pp_both", trial_days=30, coupon_id=1)
    await shop.offer("pp_trial", trial_days=60)
    await shop.offer("pp_coupon", coupon_id=1)
    await shop.offer("pp_nothing")
    assert await shop.deal("L1", await shop.click("pp_both")) == {
        "campaign": "pp_both", "trial_days": 30, "coupon": COUPON,
    }  # fmt: skip
    assert await shop.deal("L2", await shop.click("pp_trial")) == {
        "campaign": "pp_trial", "trial_days": 60, "coupon": None,
    }  # fmt: skip
    assert await shop.deal("L3", await shop.click("pp_coupon")) == {
        "campaign": "pp_coupon", "trial_days": 14, "coupon": COUPON,
    }  # fmt: skip
    assert await shop.deal("L4", await shop.click("pp_nothing")) is None
    assert await shop.deal("L5", await shop.click("")) is None
    assert await shop.deal("L6", await shop.click("pp_both", "Q")) is None, "a slug is one partner's own"
    assert await shop.deal("L7", new_visitor_id(), partner_id="P") is None, "no click, no deal"


async def test_only_the_last_touch_offers_something(shop: Shop) -> None:
    await shop.offer("pp_first", trial_days=30)
    await shop.offer("pp_second", "Q", trial_days=45)
    visitor_id = await shop.click("pp_first", ago_ms=2 * DAY_MS)
    await shop.click("pp_second", "Q", visitor_id)
    assert (await shop.deal("L1", visitor_id))["campaign"] == "pp_second"
    visitor_id = await shop.click("pp_first", ago_ms=2 * DAY_MS)
    await shop.click("", "P", visitor_id)
    assert await shop.deal("L2", visitor_id) is None


async def test_a_deal_ends_when_the_campaign_is_switched_off(shop: Shop) -> None:
    await shop.offer("pp_off", trial_days=30, disabled_at=NOW_MS - 3_600_000)
    visitor_id = await shop.click("pp_off")
    assert await shop.deal("L1", visitor_id) is None
    earlier = await shop.deal("L2", visitor_id, signed_up_at=rfc3339(NOW_MS - 7_200_000))
    assert earlier["trial_days"] == 30, "a signup of before, told late"


async def test_a_coupon_that_the_partner_may_not_use_any_more_is_not_given(shop: Shop) -> None:
    await shop.offer("pp_gone", coupon_id=99)
    await shop.offer("pp_others", coupon_id=2, trial_days=20)
    assert await shop.deal("L1", await shop.click("pp_gone")) is None
    assert await shop.deal("L2", await shop.click("pp_others")) == {
        "campaign": "pp_others", "trial_days": 20, "coupon": None,
    }  # fmt: skip


async def test_a_partner_gets_no_deal_of_their_own(shop: Shop) -> None:
    await shop.offer("pp_own", trial_days=30)
    assert await shop.deal("L1", await shop.click("pp_own"), client_email="P@partners.example") is None


async def test_the_same_signup_again_has_the_first_answer(shop: Shop) -> None:
    await shop.offer("pp_first", trial_days=30)
    signup = {"license_id": "L1", "product": "livechat", "visitor_id": await shop.click("pp_first")}
    first = await shop.accept("signup", **signup)
    await shop.offer("pp_first", trial_days=30, disabled_at=0)
    again = await shop.accept("signup", **signup)
    assert again.is_replay and again.answer == first.answer and first.answer["deal"]["trial_days"] == 30
