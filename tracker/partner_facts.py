"""Decides on facts about partners: joins, suspensions, rates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tracker import ids, redis_keys
from tracker.attribution_now import Outcome, recruit_now
from tracker.bodies import Body
from tracker.desk import Decision, Desk, first_answer, known_standings, simple_decision
from tracker.directory import Key, Known, Step
from tracker.errors import Conflict
from tracker.events import PartnerChanged, PartnerJoined, fact_row
from tracker.secret import email_hash
from tracker.standing import Standing, standing

SHORT_CODE_LENGTH = 6


def partner_reads(body: Body, desk: Desk) -> Iterable[Key]:
    yield redis_keys.PARTNER_EMAILS, email_hash(desk.secret, body.values["email"])
    if partner_id := body.get("partner_id"):
        yield redis_keys.EARLY_CHANGES, partner_id


def decide_partner(body: Body, known: Known, desk: Desk) -> Decision:
    hashed = email_hash(desk.secret, body.values["email"])
    owner = known.get(redis_keys.PARTNER_EMAILS, hashed)
    if owner:
        if "partner_id" not in body.values and (replay := _replay_join(body, known, owner)):
            return replay
        raise Conflict(
            "email: another partner has this e-mail", [{"field": "email", "message": "another partner has it"}]
        )
    partner_id: str = body.get("partner_id") or ids.new_partner_id()
    early = known.entries.get((redis_keys.EARLY_CHANGES, partner_id))
    joined_at: int = body.get("joined_at", desk.now_ms)
    outcome = _recruiter(body, known, desk, standing(partner_id, joined_at, hashed))
    codes = {product: ids.new_code(SHORT_CODE_LENGTH) for product in desk.program.products}
    answer = {
        "partner_id": partner_id,
        "recruiter_id": outcome.partner_id,
        "reason": outcome.reason,
        "links": _links(partner_id, codes, desk),
    }
    fact = PartnerJoined(
        partner_id=partner_id,
        joined_at=joined_at,
        name=body.values["name"],
        email=body.values["email"],
        email_hash=hashed,
        visitor_id=desk.visitor_id(body),
        recruiter_hint=body.get("recruiter_id", ""),
        links=json.dumps(codes),
        answered=json.dumps(answer),
        digest=body.digest,
    )
    write = first_answer(body, partner_id, answer)
    write[redis_keys.PARTNERS, partner_id] = _partner_entry(fact, outcome, codes, json.loads(early or "[]"))
    write[redis_keys.PARTNER_EMAILS, hashed] = partner_id
    for product, code in codes.items():
        link = {"partner_id": partner_id, "product": product, "campaign": "", "landing_url": ""}
        write[redis_keys.LINKS, code] = json.dumps(link)
    expect: dict[Key, str | None] = dict.fromkeys(write)
    expect[redis_keys.EARLY_CHANGES, partner_id] = early
    changes = (("partner", partner_id), *(("link", code) for code in codes.values()))
    return Decision(answer, Step((fact_row(fact),), expect, write, changes))


def _replay_join(body: Body, known: Known, owner: str) -> Decision | None:
    """A join without a Partner ID is known by its e-mail: the same body again is the same join."""
    stored = known.entries.get((redis_keys.seen("partner"), owner))
    digest, _, answer = (stored or "").partition(" ")
    return Decision(json.loads(answer), None) if digest == body.digest else None


def _recruiter(body: Body, known: Known, desk: Desk, joining: Standing) -> Outcome:
    touches = known.touches.get(desk.visitor_id(body) or "", [])
    return recruit_now(touches, body.get("recruiter_id", ""), joining, known_standings(known), desk.program)


def _links(partner_id: str, codes: Mapping[str, str], desk: Desk) -> dict[str, dict[str, str]]:
    return {
        product: {
            "url": f"{desk.program.products[product].url}?a={partner_id}&utm_source=PP",
            "short_url": f"{desk.tracker_url}/{code}",
        }
        for product, code in codes.items()
    }


def _partner_entry(fact: PartnerJoined, outcome: Outcome, codes: Mapping[str, str], changes: list[Any]) -> str:
    entry = {
        "joined_at": fact.joined_at,
        "name": fact.name,
        "email": fact.email,
        "email_hash": fact.email_hash,
        "recruiter_id": outcome.partner_id,
        "links": codes,
        "changes": changes,
    }
    return json.dumps(entry, ensure_ascii=False)


def partner_event_reads(body: Body, desk: Desk) -> Iterable[Key]:
    yield redis_keys.PARTNERS, body.values["partner_id"]
    yield redis_keys.EARLY_CHANGES, body.values["partner_id"]


def decide_partner_event(body: Body, known: Known, desk: Desk) -> Decision:
    partner_id: str = body.values["partner_id"]
    fact = PartnerChanged(
        event_id=body.values["event_id"],
        partner_id=partner_id,
        occurred_at=body.get("occurred_at", desk.now_ms),
        kind=body.values["kind"],
        first_tier_percent_hundredths=body.get("first_tier_percent"),
        second_tier_percent_hundredths=body.get("second_tier_percent"),
        until=body.get("until"),
        digest=body.digest,
    )
    if fact.kind == "rate_changed":
        return simple_decision(fact.event_id, body, fact_row(fact))
    entry_key = (redis_keys.PARTNERS, partner_id)
    early_key = (redis_keys.EARLY_CHANGES, partner_id)
    entry, early = known.entries[entry_key], known.entries[early_key]
    change = [fact.occurred_at, fact.event_id, fact.kind]
    if entry is None:
        write = {early_key: json.dumps(sorted([*json.loads(early or "[]"), change]))}
    else:
        document = json.loads(entry)
        document["changes"] = sorted([*document["changes"], change])
        write = {entry_key: json.dumps(document, ensure_ascii=False)}
    expect = {entry_key: entry, early_key: early}
    return simple_decision(
        fact.event_id, body, fact_row(fact), write=write, expect=expect, changes=(("partner", partner_id),)
    )
