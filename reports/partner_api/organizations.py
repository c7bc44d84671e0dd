"""Organizations: what holds the licenses that a partner runs for a client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reports.partner_api.asked import Asked
from reports.partner_api.dates import money
from reports.partner_api.provisioning_orders import organization_created
from reports.partner_api.solution_licenses import standings
from reports.room import Room
from tracker import redis_keys
from tracker.attribution_now import read_standing
from tracker.directory import Known, Step
from tracker.errors import Forbidden, NotFound
from tracker.events import OrganizationNamed, fact_row
from tracker.secret import email_hash
from tracker.solutions import Organization, read_organization
from tracker.state import change, state_step

NO_ORGANIZATION = "There is no such organization among yours."
PAGE_LIMIT = 15


async def create_organization(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    now_ms = room.now_ms()
    named = OrganizationNamed(
        organization_id=str(uuid.uuid4()),
        data_center=asked.body.get("data_center", room.program.default_data_center),
        name=asked.body["organization_name"],
        client_name=asked.body["client_name"],
        client_email=asked.body["client_email"].strip(),
        identifier=asked.body.get("identifier", ""),
    )
    organization = Organization(
        organization_id=named.organization_id,
        partner_id=asked.partner_id,
        data_center=named.data_center,
        email_hash=email_hash(room.secret, named.client_email),
        created_at=now_ms,
    )
    key = (redis_keys.ORGANIZATIONS, organization.organization_id)

    async def decide(known: Known) -> tuple[None, Step]:
        require_active(known, asked.partner_id, now_ms)
        step = state_step(
            known,
            {key: organization.text()},
            client=(redis_keys.client_journal(named.data_center), fact_row(named)),
            records=(named.record,),
            deliveries=(organization_created(organization, now_ms),),
        )
        return None, step

    await change(room.directory, [key, (redis_keys.PARTNERS, asked.partner_id)], decide)
    return {"id": organization.organization_id}


def require_active(known: Known, partner_id: str, now_ms: int) -> None:
    """Raises Forbidden while the partner is suspended. Every other partner may create solution licenses."""
    entry = known.get(redis_keys.PARTNERS, partner_id)
    found = read_standing(partner_id, entry.encode()) if entry else None
    if found is not None and found.suspended_at(now_ms):
        raise Forbidden("Your account is suspended: it may not create solution licenses.")


def own_organization(text: str | None, partner_id: str) -> Organization:
    """The organization of an entry, where it is the partner's. Raises NotFound for any other."""
    organization = read_organization(text) if text else None
    if organization is None or organization.partner_id != partner_id:
        raise NotFound(NO_ORGANIZATION)
    return organization


async def get_organization_details(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    organization, named = await _read(room, asked)
    products = dict.fromkeys(product for _, product in organization.licenses)
    created = datetime.fromtimestamp(organization.created_at // 1000, UTC)
    return {
        "organization_id": organization.organization_id,
        "name": named.name,
        "data_center": organization.data_center,
        "products": [{"product": _display_name(room, product)} for product in products],
        "created_at": f"{created:%Y-%m-%dT%H:%M:%SZ}",
    }


async def get_organization_licenses(room: Room, asked: Asked) -> Mapping[str, Any] | None:
    organization, named = await _read(room, asked)
    found = await standings(room, asked.partner_id, [license_id for license_id, _ in organization.licenses])
    page = {
        "organization_id": organization.organization_id,
        "organization_name": named.name,
        "client_name": named.client_name,
        "client_email": named.client_email,
        "arr": money(sum(one.annual_cents for one in found)),
        "licenses": [
            {"external_license_id": license_id, "product": product} for license_id, product in organization.licenses
        ],
    }
    return {"total": 1, "limit": PAGE_LIMIT, "results": [page]}


async def _read(room: Room, asked: Asked) -> tuple[Organization, OrganizationNamed]:
    """The partner's organization that was asked for, and its record."""
    key = (redis_keys.ORGANIZATIONS, asked.path["organization_id"].lower())
    known = Known()
    await room.directory.read(known, [key])
    organization = own_organization(known.get(*key), asked.partner_id)
    blank = OrganizationNamed(organization_id=organization.organization_id, data_center=organization.data_center)
    return organization, await room.client_records.one(blank)


def _display_name(room: Room, product: str) -> str:
    known = room.program.products.get(product)
    return known.name if known else product
