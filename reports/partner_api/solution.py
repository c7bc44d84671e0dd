"""The operations tagged Solution Partner: licenses that a partner runs for clients.

Organizations and subscriptions have modules of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reports.paging import After, read_cursor, write_cursor
from reports.partner_api.asked import Asked, Handler, bad_field
from reports.partner_api.organizations import (
    create_organization,
    get_organization_details,
    get_organization_licenses,
    own_organization,
    require_active,
)
from reports.partner_api.provisioning_orders import client_renamed, license_created, operators_invited
from reports.partner_api.solution_licenses import (
    Facts,
    Standing,
    clients_of,
    details_document,
    license_document,
    own_license,
    own_licenses,
    status_document,
)
from reports.partner_api.subscriptions import (
    LicenseKeys,
    close_subscription,
    create_subscription,
    transfer_license,
    update_subscription,
)
from reports.room import Room
from tracker import redis_keys
from tracker.directory import Key, Known, Step
from tracker.errors import Conflict, Forbidden
from tracker.events import ClientNamed, OperatorInvited, SolutionLicenseCreated, fact_row
from tracker.program import Coupon
from tracker.secret import canonical_email, email_hash, mask_email
from tracker.solutions import SolutionLicense, client_license, license_writes
from tracker.state import change, state_step

OPERATOR_PRODUCTS = ("livechat", "helpdesk")
MOST_OPERATORS = 1_000
PAGE_LICENSES = 15


def new_license_id(product: str, below: Callable[[int], int] = secrets.randbelow) -> str:
    """An id in the shape that ids of the product have. `below` gives random numbers."""
    match product:
        case "helpdesk":
            return f"HD-{below(9 * 10**8) + 10**8}"
        case "chatbot":
            return f"{below(16**16):016x}"
        case _:
            return str(below(9 * 10**9) + 10**9)


async def create_license(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    product: str = asked.query["product"]
    organization_key = (redis_keys.ORGANIZATIONS, asked.path["organization_id"].lower())
    email: str = asked.body["client_email"].strip()
    hashed = email_hash(room.secret, email)
    now_ms = room.now_ms()
    license_id = new_license_id(product)
    seen: Key = (redis_keys.seen("license"), license_id)
    taken = client_license(product, hashed)

    async def decide(known: Known) -> tuple[tuple[SolutionLicense, ClientNamed], Step]:
        organization = own_organization(known.get(*organization_key), asked.partner_id)
        require_active(known, asked.partner_id, now_ms)
        if hashed != organization.email_hash:
            raise bad_field("client_email", "must be the e-mail of the organization's owner")
        coupon = _coupon(room, asked)
        if known.get(*taken):
            raise Conflict(f"This client already has a license for {product}.")
        if known.get(*seen):
            raise Conflict("This license id was taken at the same moment; try again.")
        license = SolutionLicense(
            license_id=license_id,
            partner_id=asked.partner_id,
            product=product,
            data_center=organization.data_center,
            payment_origin=asked.body["payment_origin"],
            created_at=now_ms,
            email_hash=hashed,
            organization_id=organization.organization_id,
            trial_days=asked.body.get("trial_duration", room.program.trial_days_default),
            coupon_id=coupon.id if coupon else None,
        )
        fact = SolutionLicenseCreated(
            license_id=license_id,
            created_at=now_ms,
            product=product,
            partner_id=asked.partner_id,
            payment_origin=license.payment_origin,
            client_email_hash=hashed,
            client_email_masked=mask_email(canonical_email(email)),
            data_center=license.data_center,
            trial_days=license.trial_days,
            digest=secrets.token_hex(8),
        )
        named = ClientNamed(
            license_id=license_id,
            data_center=license.data_center,
            email=email,
            name=asked.body["client_name"],
            purchase_order=asked.body.get("purchase_order", ""),
        )
        grown = replace(organization, licenses=(*organization.licenses, (license_id, product)))
        write: dict[Key, str | None] = {
            **license_writes(license),
            seen: f'{fact.digest} {{"license_id":"{license_id}"}}',
            organization_key: grown.text(),
        }
        step = state_step(
            known,
            write,
            rows=(fact_row(fact),),
            client=(redis_keys.client_journal(license.data_center), fact_row(named)),
            records=(named.record,),
            deliveries=license_created(license, _coupon_document(coupon), now_ms),
        )
        return (license, named), step

    reads = [organization_key, (redis_keys.PARTNERS, asked.partner_id), taken, seen]
    license, named = await change(room.directory, reads, decide)
    return license_document(Standing(license, None, Facts(), now_ms), named)


def _coupon(room: Room, asked: Asked) -> Coupon | None:
    """The coupon that was asked for. R14: the contract has refused it where the partner pays."""
    if "coupon_id" not in asked.body:
        return None
    for coupon in room.program.coupons:
        if coupon.id == asked.body["coupon_id"] and coupon.usable_by(asked.partner_id):
            return coupon
    raise Forbidden("The coupon is unknown, or is not one of yours.")


def _coupon_document(coupon: Coupon | None) -> Mapping[str, Any] | None:
    if coupon is None:
        return None
    return {"id": coupon.id, "label": coupon.label, "discount_percent": coupon.discount_percent}


async def get_solution_licenses(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    found = await own_licenses(room, asked.partner_id, asked.period)
    clients = await clients_of(room, [one.license for one in found])
    return {"result": [license_document(one, clients[one.license.license_id]) for one in found]}


async def get_solution_licenses_by_status(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    after = read_cursor(asked.query.get("next_cursor", ""))
    found = [
        one
        for one in await own_licenses(room, asked.partner_id, asked.period)
        if one.status == asked.path["status"] and _is_after(one, after)
    ]
    limit: int = asked.query.get("limit", PAGE_LICENSES)
    page = found[:limit]
    clients = await clients_of(room, [one.license for one in page])
    last = page[-1].license if len(found) > limit else None
    return {
        "results": [status_document(one, clients[one.license.license_id]) for one in page],
        "next_cursor": write_cursor(After(last.created_at, last.license_id)) if last else "",
    }


def _is_after(one: Standing, after: After) -> bool:
    return (one.license.created_at, one.license.license_id) < (after.moment, after.key)


async def get_license_details(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    found = await own_license(room, asked.partner_id, asked.path["product"], asked.path["license_id"])
    return await details_document(room, found)


async def update_license_details(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    keys = LicenseKeys(asked)
    now_ms = room.now_ms()

    async def decide(known: Known) -> tuple[None, Step]:
        license, transferred_at = keys.own(known)
        keys.require_not_handed_over(license, transferred_at, now_ms)
        blank = ClientNamed(license_id=license.license_id, data_center=license.data_center)
        before = await room.client_records.one(blank)
        purchase_order = asked.body.get("purchase_order", before.purchase_order)
        named = replace(before, name=asked.body["client_name"], purchase_order=purchase_order)
        is_renamed = named.name != before.name
        step = state_step(
            known,
            {keys.renames: secrets.token_hex(8)},
            client=(redis_keys.client_journal(license.data_center), fact_row(named)),
            records=(named.record,),
            deliveries=(client_renamed(license, now_ms),) if is_renamed else (),
        )
        return None, step

    await change(room.directory, keys.all, decide)
    return None


async def invite_license_operators(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    if asked.path["product"] not in OPERATOR_PRODUCTS:
        raise bad_field("product", f"must be one of {', '.join(OPERATOR_PRODUCTS)}")
    keys = LicenseKeys(asked)
    now_ms = room.now_ms()

    async def decide(known: Known) -> tuple[list[int], Step | None]:
        license, transferred_at = keys.own(known)
        keys.require_not_handed_over(license, transferred_at, now_ms)
        operators = dict(license.operators)
        invited: dict[str, str] = {}
        outcomes: list[int] = []
        for person in asked.body["operators"]:
            hashed = email_hash(room.secret, person["email"])
            is_possible = person["role"] != "viewer" or license.product == "helpdesk"
            if not is_possible or (hashed not in operators and len(operators) >= MOST_OPERATORS):
                outcomes.append(400)
                continue
            operators[hashed] = invited[hashed] = person["role"]
            outcomes.append(200)
        if not invited:
            return outcomes, None
        lines = _operator_lines(room, license, asked.body["operators"], invited)
        step = state_step(
            known,
            {keys.license: replace(license, operators=tuple(operators.items())).text()},
            client=(redis_keys.client_journal(license.data_center), "\n".join(map(fact_row, lines))),
            records=tuple(line.record for line in lines),
            deliveries=(operators_invited(license, list(invited.items()), now_ms),),
        )
        return outcomes, step

    outcomes = await change(room.directory, keys.all, decide)
    people = zip(asked.body["operators"], outcomes, strict=True)
    return {"result": [{"operator": person["email"], "status_code": outcome} for person, outcome in people]}


def _operator_lines(
    room: Room, license: SolutionLicense, people: Sequence[Mapping[str, Any]], invited: Mapping[str, str]
) -> list[OperatorInvited]:
    """The records of those who were invited, each once."""
    emails = {email_hash(room.secret, person["email"]): person["email"].strip() for person in people}
    return [
        OperatorInvited(
            license_id=license.license_id, operator_id=hashed, data_center=license.data_center, email=emails[hashed]
        )
        for hashed in invited
    ]


OPERATIONS: Mapping[str, Handler] = {
    "create_organization": create_organization,
    "get_organization_details": get_organization_details,
    "get_organization_licenses": get_organization_licenses,
    "create_license": create_license,
    "get_solution_licenses": get_solution_licenses,
    "get_solution_licenses_by_status": get_solution_licenses_by_status,
    "get_license_details": get_license_details,
    "update_license_details": update_license_details,
    "invite_license_operators": invite_license_operators,
    "create_subscription": create_subscription,
    "update_subscription": update_subscription,
    "close_subscription": close_subscription,
    "transfer_license": transfer_license,
}
"""Operation id → handler."""
