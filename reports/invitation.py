"""The e-mail that invites a client to a solution license, with the deal in it (R14, R15)."""

from __future__ import annotations

from dataclasses import dataclass

from attribution.client_records import ClientRecords
from reports.deliveries import Refused
from reports.mail import Letter, Post, render
from tracker.delivery import Delivery
from tracker.events import ClientNamed
from tracker.program import Program


@dataclass(frozen=True, slots=True)
class Invitations:
    """The channel of e-mails that are ordered with a license."""

    post: Post
    records: ClientRecords
    program: Program

    async def is_open(self) -> bool:
        return True

    async def deliver(self, delivery: Delivery) -> str:
        """Write to the client as they are known now."""
        data = delivery.data
        blank = ClientNamed(license_id=data["license_id"], data_center=data["data_center"])
        client = await self.records.one(blank)
        if not client.email:
            raise Refused("the client has no address any more")
        return await self.post.send(invitation(self.program, delivery, client))


def invitation(program: Program, delivery: Delivery, client: ClientNamed) -> Letter:
    """The invitation of a client. Where the partner pays, it tells of neither trial nor price (R15)."""
    data = delivery.data
    product = program.products.get(data["product"])
    name = product.name if product else data["product"]
    client_pays = data["payment_origin"] == "client"
    text, html = render(
        "invitation",
        client_name=client.name,
        product=name,
        product_url=product.url if product else "",
        license_id=data["license_id"],
        trial_days=data["trial_days"] if client_pays else None,
        trial_ends_on=data["trial_ends_at"][:10] if client_pays else None,
        discount=data["coupon"]["label"] if client_pays and data["coupon"] else None,
    )
    subject = f"Your {name} account is ready"
    return Letter(delivery.id, delivery.ordered_at, client.email, client.name, subject, text, html)
