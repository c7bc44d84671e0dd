"""Decides what a conversion does: from a clean body and what is known to a step, a replay or a refusal.

One pure function per kind of fact; `FACTS` is the table. Nothing here talks to Redis: the caller reads what
`first_reads` and `further_reads` name, decides, and commits the decision's step (intake.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tracker import redis_keys
from tracker.bodies import Body
from tracker.campaigns import deal_key
from tracker.desk import IDS, Decision, Desk, own_key
from tracker.directory import Key, Known
from tracker.errors import Conflict
from tracker.license_facts import (
    decide_license_event,
    decide_license_transfer,
    decide_signup,
    decide_solution_license,
    transfer_reads,
)
from tracker.money_facts import decide_payment, decide_refund, payment_reads
from tracker.partner_facts import decide_partner, decide_partner_event, partner_event_reads, partner_reads
from tracker.secret import email_hash


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of fact is decided, and which directory entries that needs besides its own."""

    decide: Callable[[Body, Known, Desk], Decision]
    reads: Callable[[Body, Desk], Iterable[Key]] = lambda body, desk: ()


FACTS: Mapping[str, Kind] = {
    "partner": Kind(decide_partner, partner_reads),
    "signup": Kind(decide_signup),
    "payment": Kind(decide_payment, payment_reads),
    "refund": Kind(decide_refund, payment_reads),
    "license_event": Kind(decide_license_event),
    "partner_event": Kind(decide_partner_event, partner_event_reads),
    "solution_license": Kind(decide_solution_license),
    "license_transfer": Kind(decide_license_transfer, transfer_reads),
}


def first_reads(body: Body, desk: Desk) -> tuple[set[Key], set[str]]:
    """The directory entries and the visitors that a decision needs, as far as the body tells."""
    keys = set(FACTS[body.type].reads(body, desk))
    if own := own_key(body):
        keys.add(own)
    visitor_id = desk.visitor_id(body) if body.type in ("partner", "signup") else None
    return keys, {visitor_id} if visitor_id else set()


def further_reads(body: Body, known: Known, desk: Desk) -> set[Key]:
    """What else is needed now that touches and e-mails are known: partners, deals, and who has the e-mail."""
    if body.type not in ("partner", "signup"):
        return set()
    visitor_id = desk.visitor_id(body)
    touches = known.touches.get(visitor_id or "", [])
    partners = {touch.partner_id for touch in touches}
    partners.add(body.get("recruiter_id" if body.type == "partner" else "partner_id", ""))
    keys = {(redis_keys.PARTNERS, partner_id) for partner_id in partners if partner_id}
    if body.type == "signup":
        keys |= {(redis_keys.DEALS, deal_key(touch.partner_id, touch.campaign)) for touch in touches if touch.campaign}
    if body.type == "partner":
        owner = known.get(redis_keys.PARTNER_EMAILS, email_hash(desk.secret, body.values["email"]))
        if owner:
            keys.add((redis_keys.seen("partner"), owner))
    return keys


def decide(body: Body, known: Known, desk: Desk) -> Decision:
    """What accepting a body does. Raises Conflict (409) and Invalid (422)."""
    own = own_key(body)
    if own and (replay := _replay(body, known, own)):
        return replay
    return FACTS[body.type].decide(body, known, desk)


def _replay(body: Body, known: Known, own: Key) -> Decision | None:
    """The first answer again if the same body was accepted before; Conflict if another one was."""
    stored = known.entries.get(own)
    if stored is None:
        return None
    digest, _, answer = stored.partition(" ")
    if digest != body.digest:
        field = IDS[body.type][1]
        raise Conflict(
            f"{field}: {own[1]!r} was used before with another body; send the same body again or use a new id",
            [{"field": field, "message": "was used before with another body"}],
        )
    return Decision(json.loads(answer), None)
