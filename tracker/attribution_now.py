"""What is known of an attribution right now: the answer to a signup or a join, from touches and the directory.

ClickHouse decides in the end, on all facts (R16); this gives the same answer from what Redis has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracker.program import Program
from tracker.standing import Change, Standing, standing

MAX_TOUCHES = 8


@dataclass(frozen=True, slots=True)
class Touch:
    """One human click that may win a signup."""

    clicked_at: int
    click_id: str
    partner_id: str
    campaign: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who gets a signup or a join, and why. `partner_id` is None when nobody does."""

    partner_id: str | None
    reason: str
    click: Touch | None = None


def read_touches(stored: bytes | None) -> list[Touch]:
    """A visitor's touches, newest first, from their text (docs/architecture.md, Touches)."""
    touches = []
    for line in (stored or b"").decode().splitlines():
        clicked_at, click_id, partner_id, *rest = line.split(" ", 4)
        touches.append(Touch(int(clicked_at), click_id, partner_id, *rest[1:]))
    return touches


def read_standing(partner_id: str, stored: bytes | None) -> Standing | None:
    """A partner's standing from their directory entry."""
    if stored is None:
        return None
    entry = json.loads(stored)
    changes = [Change(at, event_id, kind) for at, event_id, kind in entry["changes"]]
    return standing(partner_id, entry["joined_at"], entry["email_hash"], changes)


def last_touch(
    touches: Sequence[Touch], standings: Mapping[str, Standing | None], moment: int, program: Program
) -> Touch | None:
    """R2: the newest countable click within the window before `moment`."""
    for touch in touches:
        known = standings.get(touch.partner_id)
        if moment - program.window_ms <= touch.clicked_at <= moment and known and known.active_at(touch.clicked_at):
            return touch
    return None


def bind_now(
    touches: Sequence[Touch],
    hint: str,
    client_email_hash: str,
    standings: Mapping[str, Standing | None],
    moment: int,
    program: Program,
) -> Outcome:
    """R2–R4 for a signup at `moment`."""
    touch = last_touch(touches, standings, moment, program)
    explicit = standings.get(hint) if hint else None
    if touch:
        outcome = Outcome(touch.partner_id, "last_touch", touch)
    elif explicit and explicit.active_at(moment):
        outcome = Outcome(hint, "explicit_partner")
    elif explicit and explicit.joined_at <= moment:
        return Outcome(None, "partner_suspended")
    else:
        return Outcome(None, "none")
    bound = standings[outcome.partner_id or ""]
    if bound and client_email_hash == bound.email_hash and not program.allow_self_referral:
        return Outcome(outcome.partner_id, "self_referral", outcome.click)
    return outcome


def recruit_now(
    touches: Sequence[Touch],
    hint: str,
    joining: Standing,
    standings: Mapping[str, Standing | None],
    program: Program,
) -> Outcome:
    """R7 (with R4) for a partner who joins: the recruiter, never the partner themself."""
    outcome = bind_now(
        touches, hint, joining.email_hash, {**standings, joining.partner_id: joining}, joining.joined_at, program
    )
    if outcome.partner_id == joining.partner_id or outcome.reason == "self_referral":
        return Outcome(None, "self_referral", outcome.click)
    return outcome
