"""Campaigns: named links of one partner, and the deals that they carry to signups.

Every product has a built-in campaign as well: the partner's own link to it from the join. It has no entry in the
directory, for its number and slug follow from the partner and the product.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tracker.program import Coupon, Product, Program

SLUG_PREFIX = "pp_"
MAX_SLUG = 64  # of what the name gives; a number that tells equal ones apart comes on top
BUILT_IN_FROM = 2**52  # numbers of built-in campaigns start here, and JSON's whole numbers end at twice that

_NOT_URL_SAFE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A named link. `landing_url` is empty for the product's home page, `code` where there is no short link.

    `trial_days` and `coupon_id` are the deal; None where it has no such part. `disabled_at` is None while it is on.
    """

    id: int
    partner_id: str
    slug: str
    name: str
    product: str
    landing_url: str = ""
    code: str
    trial_days: int | None = None
    coupon_id: int | None = None
    created_at: int
    disabled_at: int | None = None
    is_built_in: bool = False

    def entry(self) -> str:
        """The directory's entry (redis_keys.CAMPAIGNS)."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def link_entry(self) -> str:
        """The entry of its short link (redis_keys.LINKS). One that is off leads to the product's home page."""
        landing_url = "" if self.disabled_at is not None else self.landing_url
        link = {"partner_id": self.partner_id, "product": self.product}
        return json.dumps({**link, "campaign": self.slug, "landing_url": landing_url})

    def deal_entry(self) -> str | None:
        """The entry of its deal (redis_keys.DEALS); None where it has none."""
        if self.trial_days is None and self.coupon_id is None:
            return None
        deal = {"trial_days": self.trial_days, "coupon_id": self.coupon_id, "until": self.disabled_at}
        return json.dumps(deal)


def read_campaign(entry: str | bytes) -> Campaign:
    """A campaign from the directory's entry."""
    return Campaign(**json.loads(entry))


def built_in_campaign(partner_id: str, joined_at: int, product: Product, code: str) -> Campaign:
    """The campaign of a partner's own link to a product. What no other campaign of theirs brought belongs to it."""
    digest = hashlib.sha256(f"{partner_id} {product.key}".encode()).digest()
    return Campaign(
        id=BUILT_IN_FROM + int.from_bytes(digest) % BUILT_IN_FROM,
        partner_id=partner_id,
        slug=f"{SLUG_PREFIX}default_{product.key}",  # names give slugs without "_"
        name=f"{product.name} default link",
        product=product.key,
        code=code,
        created_at=joined_at,
        is_built_in=True,
    )


def slug_of(name: str, taken: Collection[str]) -> str:
    """The slug of a name: lower-case, without accents, and with a number where another name has the same one."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    slug = SLUG_PREFIX + (_NOT_URL_SAFE.sub("-", plain).strip("-")[:MAX_SLUG].rstrip("-") or "campaign")
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    return free


def deal_key(partner_id: str, slug: str) -> str:
    """The field of redis_keys.DEALS. Partner IDs have no blanks."""
    return f"{partner_id} {slug}"


def usable_coupon(program: Program, partner_id: str, coupon_id: int | None) -> Coupon | None:
    """The coupon, if the program has it and the partner may use it (R21)."""
    return next((one for one in program.coupons if one.id == coupon_id and one.usable_by(partner_id)), None)


def deal_document(
    entry: str | None, partner_id: str, slug: str, moment: int, program: Program
) -> Mapping[str, Any] | None:
    """What a signup at `moment` is offered by the campaign of its click, from the directory's entry; None for nothing.

    A campaign that was off by then offers nothing, and neither does a coupon that the program has withdrawn.
    """
    if entry is None:
        return None
    deal = json.loads(entry)
    coupon = usable_coupon(program, partner_id, deal["coupon_id"])
    if (deal["until"] is not None and moment >= deal["until"]) or (deal["trial_days"] is None and coupon is None):
        return None
    return {
        "campaign": slug,
        "trial_days": deal["trial_days"] or program.trial_days_default,
        "coupon": coupon and {"id": coupon.id, "label": coupon.label, "discount_percent": coupon.discount_percent},
    }
