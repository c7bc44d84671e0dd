"""A partner's campaigns as the app knows and changes them: those in the directory, and each product's built-in one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from reports.room import Room
from tracker import redis_keys
from tracker.campaigns import (
    Campaign,
    built_in_campaign,
    deal_key,
    read_campaign,
    slug_of,
    usable_coupon,
)
from tracker.directory import Key, Known, Step
from tracker.errors import BadRequest, Conflict, Forbidden, NotFound
from tracker.ids import new_code
from tracker.landing import campaign_pair, home_of, located, read_landing
from tracker.program import Product, Program
from tracker.state import change, new_number, state_step

MAX_CAMPAIGNS = 1000  # of one partner, those that are off included: their list is one entry of the directory
CODE_LENGTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A campaign that a partner asks for. `landing_url` is empty for the product's home page."""

    product: str
    name: str
    landing_url: str = ""
    trial_days: int | None = None
    coupon_id: int | None = None


class Campaigns:
    """All campaigns of one partner, the built-in ones first, then by age."""

    def __init__(self, built_in: Iterable[Campaign], started: Iterable[Campaign], default_product: str) -> None:
        self._default_product = default_product
        self._built_in = {one.product: one for one in built_in}
        self._by_slug = {one.slug: one for one in (*self._built_in.values(), *started)}

    def __iter__(self) -> Iterator[Campaign]:
        return iter(self._by_slug.values())

    @property
    def started(self) -> Sequence[Campaign]:
        """Those that the partner started."""
        return [one for one in self if not one.is_built_in]

    def find(self, campaign_id: str) -> Campaign | None:
        """The campaign of a number or a slug."""
        return self._by_slug.get(campaign_id) or next((one for one in self if str(one.id) == campaign_id), None)

    def get(self, campaign_id: str) -> Campaign:
        """Like `find`. Raises NotFound."""
        found = self.find(campaign_id)
        if found is None:
            raise NotFound("There is no such campaign among yours.")
        return found

    def of(self, slug: str, product: str) -> Campaign:
        """Whose result it is that came by a link with this slug, empty for none, to this product.

        What no campaign of the partner has brought belongs to the product's built-in one; of a product that the program
        has no more, to that of the default product.
        """
        return self._by_slug.get(slug) or self._built_in.get(product) or self._built_in[self._default_product]


async def read_campaigns(room: Room, partner_id: str) -> Campaigns:
    """All campaigns of a partner."""
    await room.directory.require()
    stored = cast("bytes | None", await room.redis.hget(redis_keys.PARTNERS, partner_id))
    if stored is None:
        raise NotFound("There is no such partner.")
    partner = json.loads(stored)
    built_in = [
        built_in_campaign(partner_id, partner["joined_at"], product, partner["links"].get(product.key, ""))
        for product in room.program.products.values()
    ]
    listed = cast("bytes | None", await room.redis.hget(redis_keys.CAMPAIGN_LISTS, partner_id))
    numbers = [str(number) for number, _ in json.loads(listed or "{}").values()]
    entries = cast("list[bytes]", await room.redis.hmget(redis_keys.CAMPAIGNS, numbers)) if numbers else []
    return Campaigns(built_in, [read_campaign(entry) for entry in entries], room.program.default_product)


async def start_campaign(room: Room, partner_id: str, wanted: Wanted) -> Campaign:
    """A new campaign, whose link every tracker follows at once. Raises BadRequest, Forbidden and Conflict."""
    _check(room.program, partner_id, wanted)
    name = wanted.name.strip()
    list_key: Key = (redis_keys.CAMPAIGN_LISTS, partner_id)

    async def start(known: Known) -> tuple[Campaign, Step]:
        listed: dict[str, Any] = json.loads(known.get(*list_key) or "{}")
        if any(name == other for _, other in listed.values()):
            raise Conflict(
                f"name: you have a campaign called {name!r}; choose another name", _named("name", "is taken")
            )
        if len(listed) >= MAX_CAMPAIGNS:
            raise Forbidden(f"You have {MAX_CAMPAIGNS:,} campaigns, which is as many as a partner may have.")
        number = await new_number(room.redis, known, "campaign")
        code = await _free_code(room, known)
        campaign = Campaign(
            id=number,
            partner_id=partner_id,
            slug=slug_of(name, listed),
            name=name,
            product=wanted.product,
            landing_url=wanted.landing_url,
            code=code,
            trial_days=wanted.trial_days,
            coupon_id=wanted.coupon_id,
            created_at=room.now_ms(),
        )
        listed[campaign.slug] = [number, name]
        write = {**_entries(campaign), list_key: json.dumps(listed, ensure_ascii=False)}
        return campaign, state_step(known, write, changes=(("link", code),))

    return await change(room.directory, [list_key], start)


async def stop_campaign(room: Room, partner_id: str, campaign_id: str) -> Campaign:
    """Switch a campaign off: its deal is no longer given, and its link leads to the product's home page. Who follows it
    still counts for the partner. Raises NotFound, and Forbidden when it is off already or built in."""
    found = (await read_campaigns(room, partner_id)).get(campaign_id)
    if found.is_built_in:
        raise Forbidden("This is your own link to the product, which cannot be switched off.")
    key: Key = (redis_keys.CAMPAIGNS, str(found.id))

    async def stop(known: Known) -> tuple[Campaign, Step]:
        campaign = read_campaign(known.get(*key) or found.entry())
        if campaign.disabled_at is not None:
            raise Forbidden("This campaign is off already.")
        stopped = replace(campaign, disabled_at=room.now_ms())
        return stopped, state_step(known, _entries(stopped), changes=(("link", stopped.code),))

    return await change(room.directory, [key], stop)


def long_url(campaign: Campaign, program: Program) -> str:
    """The tracked link that leads straight to the site."""
    landing = read_landing(campaign.landing_url, program.hosts) or home_of(_product(campaign, program), program)
    given = {pair.partition("=")[0] for pair in landing.query.split("&")}
    tags = ["utm_source=PP"] + ([] if campaign.is_built_in else [campaign_pair(campaign.slug)])
    added = [pair for pair in tags if pair.partition("=")[0] not in given]
    return located(landing, [f"a={campaign.partner_id}", *added])


def short_url(campaign: Campaign, tracker_url: str) -> str:
    """The short tracked link; the direct one where a product came later than the partner."""
    return f"{tracker_url}/{campaign.code or f'a/{campaign.partner_id}/{campaign.product}'}"


def landing_page(campaign: Campaign, program: Program) -> str:
    """Where a campaign's visitors land, without stamps."""
    return campaign.landing_url or _product(campaign, program).url


def _product(campaign: Campaign, program: Program) -> Product:
    """A campaign's product; the default one where the program has it no more, as redirects have it."""
    return program.products.get(campaign.product) or program.products[program.default_product]


def coupon_label(campaign: Campaign, program: Program) -> str:
    """The label of a campaign's coupon; empty without one, and for one that the program has no more."""
    return next((one.label for one in program.coupons if one.id == campaign.coupon_id), "")


def deal_words(campaign: Campaign, program: Program) -> str:
    """What the campaign gives to who signs up; empty for no more than everybody gets."""
    days = f"{campaign.trial_days}-day trial" if campaign.trial_days else ""
    coupon = usable_coupon(program, campaign.partner_id, campaign.coupon_id)
    return ", ".join(filter(None, (days, coupon.label if coupon else "")))


def _entries(campaign: Campaign) -> Mapping[Key, str | None]:
    """What the directory says of a campaign, its link and its deal."""
    entries: dict[Key, str | None] = {
        (redis_keys.CAMPAIGNS, str(campaign.id)): campaign.entry(),
        (redis_keys.LINKS, campaign.code): campaign.link_entry(),
    }
    if deal := campaign.deal_entry():
        entries[redis_keys.DEALS, deal_key(campaign.partner_id, campaign.slug)] = deal
    return entries


def _check(program: Program, partner_id: str, wanted: Wanted) -> None:
    if len(wanted.name.strip()) < 5:
        message = "must have at least 5 characters besides blanks around it"
        raise BadRequest(f"name: {message}", _named("name", message))
    if wanted.landing_url and read_landing(wanted.landing_url, program.hosts) is None:
        message = f"must be an address on {', '.join(sorted(program.hosts))}"
        raise BadRequest(f"link: {message}", _named("link", message))
    if wanted.trial_days is not None and not program.trial_days_default <= wanted.trial_days <= program.trial_days_max:
        message = f"must be from {program.trial_days_default} to {program.trial_days_max} days"
        raise BadRequest(f"trial_duration: {message}", _named("trial_duration", message))
    if wanted.coupon_id is not None and usable_coupon(program, partner_id, wanted.coupon_id) is None:
        raise Forbidden("coupon_id: this is none of your coupons", _named("coupon_id", "is none of your coupons"))


def _named(field: str, message: str) -> list[dict[str, str]]:
    return [{"field": field, "message": message}]


async def _free_code(room: Room, known: Known) -> str:
    """A short code that no link has; `known` says so."""
    while True:
        code = new_code(CODE_LENGTH)
        await room.directory.read(known, [(redis_keys.LINKS, code)])
        if known.get(redis_keys.LINKS, code) is None:
            return code
        del known.entries[redis_keys.LINKS, code]
