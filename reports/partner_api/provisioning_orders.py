"""What LiveChat's own system is told of solution licenses (docs/provisioning.md), and the client's invitation.

Nothing personal is in an order: names and e-mails are read from their data center's store when it is delivered (R20).
The orders of an organization are delivered one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracker.delivery import MAIL, PROVISIONING, Delivery, order
from tracker.events import SubscriptionChanged
from tracker.rfc3339 import rfc3339
from tracker.solutions import Organization, SolutionLicense


def organization_created(organization: Organization, now_ms: int) -> Delivery:
    data = {
        "organization_id": organization.organization_id,
        "partner_id": organization.partner_id,
        "data_center": organization.data_center,
    }
    return order(PROVISIONING, organization.organization_id, "organization.created", now_ms, data)


def license_created(license: SolutionLicense, coupon: Mapping[str, Any] | None, now_ms: int) -> tuple[Delivery, ...]:
    """The license is to be made, and its client to be invited. `coupon`: what is taken off the price."""
    deal = {
        "trial_days": license.trial_days,
        "trial_ends_at": rfc3339(license.trial_end(None)),
        "coupon": coupon,
    }
    told = _told("license.created", license, now_ms, payment_origin=license.payment_origin, **deal)
    invited = {**_license(license), "payment_origin": license.payment_origin, **deal}
    return told, order(MAIL, license.license_id, "invitation", now_ms, invited)


def client_renamed(license: SolutionLicense, now_ms: int) -> Delivery:
    return _told("client.renamed", license, now_ms)


def operators_invited(license: SolutionLicense, invited: Sequence[tuple[str, str]], now_ms: int) -> Delivery:
    """`invited`: keyed hash of the e-mail, and role, of each."""
    operators = [{"operator_id": hashed, "role": role} for hashed, role in invited]
    return _told("operators.invited", license, now_ms, operators=operators)


def subscription_changed(change: SubscriptionChanged, license: SolutionLicense, now_ms: int) -> Delivery:
    """It was created, changed or closed. `closes_at` is when a closed one ends, now or later; null while it renews."""
    kind = "closed" if change.kind == "closing" else change.kind
    subscription = {
        "plan": change.plan,
        "billing_cycle": change.billing_cycle,
        "seats": change.seats,
        "closes_at": rfc3339(change.closes_at) if change.closes_at else None,
    }
    return _told(f"subscription.{kind}", license, now_ms, subscription=subscription)


def license_transferred(license: SolutionLicense, transferred_at: int, owner: str, now_ms: int) -> Delivery:
    """`owner`: the operator who becomes the owner, as the keyed hash of the e-mail."""
    return _told(
        "license.transferred",
        license,
        now_ms,
        payment_origin="client",
        transferred_at=rfc3339(transferred_at),
        trial_ends_at=rfc3339(license.trial_end(transferred_at)),
        owner={"operator_id": owner},
    )


def _told(kind: str, license: SolutionLicense, now_ms: int, **more: Any) -> Delivery:
    lane = license.organization_id or license.license_id
    return order(PROVISIONING, lane, kind, now_ms, {**_license(license), **more})


def _license(license: SolutionLicense) -> dict[str, Any]:
    return {
        "license_id": license.license_id,
        "product": license.product,
        "organization_id": license.organization_id or None,
        "partner_id": license.partner_id,
        "data_center": license.data_center,
    }
