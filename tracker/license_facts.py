"""Decides on facts about licenses: signups, solution licenses, stages, transfers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tracker import redis_keys
from tracker.attribution_now import Outcome, bind_now
from tracker.bodies import Body
from tracker.campaigns import deal_document, deal_key
from tracker.desk import Decision, Desk, first_answer, known_standings, simple_decision
from tracker.directory import Key, Known, Step
from tracker.events import (
    ClientNamed,
    LicenseChanged,
    LicenseTransferred,
    SignedUp,
    SolutionLicenseCreated,
    fact_row,
)
from tracker.rfc3339 import rfc3339
from tracker.secret import canonical_email, email_hash, mask_email
from tracker.solutions import KNOWN, SolutionLicense, client_license, license_writes


def decide_signup(body: Body, known: Known, desk: Desk) -> Decision:
    license_id: str = body.values["license_id"]
    client_email = canonical_email(body.get("client_email", ""))
    hashed = email_hash(desk.secret, client_email)
    signed_up_at: int = body.get("signed_up_at", desk.now_ms)
    visitor_id = desk.visitor_id(body)
    standings = known_standings(known)
    touches = known.touches.get(visitor_id or "", [])
    outcome = bind_now(touches, body.get("partner_id", ""), hashed, standings, signed_up_at, desk.program)
    answer = {
        "license_id": license_id,
        "attribution": _attribution(outcome, known),
        "deal": _deal(outcome, known, desk, signed_up_at),
    }
    data_center: str = body.get("data_center", desk.program.default_data_center)
    fact = SignedUp(
        license_id=license_id,
        signed_up_at=signed_up_at,
        product=body.values["product"],
        visitor_id=visitor_id,
        partner_hint=body.get("partner_id", ""),
        client_email_hash=hashed,
        client_email_masked=mask_email(client_email) if client_email else "",
        data_center=data_center,
        plan=body.get("plan", ""),
        seats=body.get("seats"),
        trial_days=body.get("trial_days"),
        answered=json.dumps(answer),
        digest=body.digest,
    )
    seen = first_answer(body, license_id, answer)
    license_entry = json.dumps({"partner_id": outcome.partner_id, "data_center": data_center})
    write = {**seen, (redis_keys.LICENSES, license_id): license_entry}
    if hashed:
        write[client_license(fact.product, hashed)] = KNOWN
    client = _client(license_id, data_center, client_email, body.get("client_name", ""))
    return Decision(answer, Step((fact_row(fact),), dict.fromkeys(seen), write, client=client))


def _attribution(outcome: Outcome, known: Known) -> dict[str, Any]:
    entry = known.entries.get((redis_keys.PARTNERS, outcome.partner_id or ""))
    return {
        "partner_id": outcome.partner_id,
        "recruiter_id": json.loads(entry)["recruiter_id"] if entry else None,
        "click_id": outcome.click.click_id if outcome.click else None,
        "clicked_at": rfc3339(outcome.click.clicked_at) if outcome.click else None,
        "reason": outcome.reason,
    }


def _deal(outcome: Outcome, known: Known, desk: Desk, signed_up_at: int) -> Mapping[str, Any] | None:
    """The deal of the winning click's campaign. A partner who follows their own link gets none (R4)."""
    click = outcome.click
    if outcome.reason != "last_touch" or click is None or not click.campaign:
        return None
    entry = known.entries.get((redis_keys.DEALS, deal_key(click.partner_id, click.campaign)))
    return deal_document(entry, click.partner_id, click.campaign, signed_up_at, desk.program)


def _client(license_id: str, data_center: str, email: str, name: str) -> tuple[str, str] | None:
    """Where a client's personal data goes: to the data center's own stream and nowhere else (R20)."""
    if not email and not name:
        return None
    named = ClientNamed(license_id=license_id, data_center=data_center, email=email, name=name)
    return redis_keys.client_journal(data_center), fact_row(named)


def decide_solution_license(body: Body, known: Known, desk: Desk) -> Decision:
    license_id: str = body.values["license_id"]
    client_email = canonical_email(body.values["client_email"])
    data_center: str = body.get("data_center", desk.program.default_data_center)
    fact = SolutionLicenseCreated(
        license_id=license_id,
        created_at=body.get("created_at", desk.now_ms),
        product=body.values["product"],
        partner_id=body.values["partner_id"],
        payment_origin=body.values["payment_origin"],
        client_email_hash=email_hash(desk.secret, client_email),
        client_email_masked=mask_email(client_email),
        data_center=data_center,
        trial_days=desk.program.trial_days_default,
        digest=body.digest,
    )
    license = SolutionLicense(
        license_id=license_id,
        partner_id=fact.partner_id,
        product=fact.product,
        data_center=data_center,
        payment_origin=fact.payment_origin,
        created_at=fact.created_at,
        email_hash=fact.client_email_hash,
        trial_days=desk.program.trial_days_default,
    )
    write = license_writes(license)
    named = ClientNamed(license_id=license_id, data_center=data_center, email=client_email)
    client = (redis_keys.client_journal(data_center), fact_row(named))
    return simple_decision(license_id, body, fact_row(fact), write=write, client=client, records=(named.record,))


def decide_license_event(body: Body, known: Known, desk: Desk) -> Decision:
    fact = LicenseChanged(
        event_id=body.values["event_id"],
        license_id=body.values["license_id"],
        occurred_at=body.get("occurred_at", desk.now_ms),
        kind=body.values["kind"],
        digest=body.digest,
    )
    return simple_decision(fact.event_id, body, fact_row(fact))


def transfer_reads(body: Body, desk: Desk) -> Iterable[Key]:
    yield redis_keys.TRANSFERS, body.values["license_id"]


def decide_license_transfer(body: Body, known: Known, desk: Desk) -> Decision:
    fact = LicenseTransferred(
        event_id=body.values["event_id"],
        license_id=body.values["license_id"],
        occurred_at=body.get("occurred_at", desk.now_ms),
        digest=body.digest,
    )
    key = (redis_keys.TRANSFERS, fact.license_id)
    known_at = known.get(*key)
    write = {key: str(min(fact.occurred_at, int(known_at or fact.occurred_at)))}
    return simple_decision(fact.event_id, body, fact_row(fact), write=write, expect={key: known_at})
