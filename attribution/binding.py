"""Who a license belongs to and who recruited a partner (R1–R5, R7): pure functions over typed records.

Times are milliseconds since 1970. Nobody is the empty string. Nothing here looks anything up: `standings` holds every
partner who is known among those that the clicks and hints name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tracker.events import Verdict
from tracker.program import Program
from tracker.standing import Standing

Standings = Mapping[str, Standing]


class Reason(StrEnum):
    """Why a license or a partner belongs to whom it does."""

    LAST_TOUCH = "last_touch"
    EXPLICIT_PARTNER = "explicit_partner"
    SOLUTION_LICENSE = "solution_license"
    NONE = "none"
    SELF_REFERRAL = "self_referral"
    PARTNER_SUSPENDED = "partner_suspended"


def reason_text(reason: str, program: Program) -> str:
    """Why something belongs to whom it does, in a sentence with the rule's number."""
    texts: Mapping[str, str] = {
        Reason.LAST_TOUCH: f"R2: the newest countable click in the {program.window_days} days before wins",
        Reason.EXPLICIT_PARTNER: "R3: no click wins, and the site named a partner who was active",
        Reason.SOLUTION_LICENSE: "R5: it belongs to the partner who created it; no click can take it over",
        Reason.SELF_REFERRAL: "R4: the e-mail is the partner's own; nobody earns anything",
        Reason.PARTNER_SUSPENDED: "R3, R11: no click wins, and the partner whom the site named was suspended",
        Reason.NONE: "R2, R3: no click wins, and the site named no active partner",
    }
    return texts[reason]


class Origin(StrEnum):
    """How a license came to be: a visitor signed up, or a partner created it for a client (R5)."""

    SIGNUP = "signup"
    SOLUTION = "solution"


@dataclass(frozen=True, slots=True)
class License:
    """What the facts say of one license. `transferred_at` is the earliest transfer to the client (R13)."""

    license_id: str
    product: str
    started_at: int
    origin: str
    data_center: str = ""
    visitor_id: str = ""
    partner_hint: str = ""
    """The Partner ID that the site saw itself (R3)."""
    creator_id: str = ""
    """The partner who created it (R5)."""
    payment_origin: str = "client"
    client_email_hash: str = ""
    client_email_masked: str = ""
    transferred_at: int | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """What the facts say of a partner's join, as far as it decides their recruiter (R7)."""

    partner_id: str
    joined_at: int
    email_hash: str = ""
    visitor_id: str = ""
    recruiter_hint: str = ""


@dataclass(frozen=True, slots=True)
class CandidateClick:
    """A click of the visitor. `click_id` is canonical UUID text: equal times are decided by it (R2)."""

    click_id: str
    clicked_at: int
    partner_id: str
    product: str = ""
    campaign: str = ""
    verdict: str = Verdict.HUMAN


@dataclass(frozen=True, slots=True)
class JudgedClick:
    """A candidate with its fate. `counted` is R1's; `refused` says why it did not win, empty for the winner."""

    click: CandidateClick
    counted: bool
    refused: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whom a license or a join goes to. `rule` is the rule that decided; `judged` is newest first.

    A self-referred license keeps its partner and click, for the funnel counts it, but earns nobody anything.
    """

    partner_id: str
    click: CandidateClick | None
    reason: Reason
    rule: str
    judged: tuple[JudgedClick, ...] = ()


def bind(license: License, clicks: Iterable[CandidateClick], standings: Standings, program: Program) -> Decision:
    """Whom a license belongs to, however it came to be."""
    if license.origin == Origin.SOLUTION:
        return bind_solution(license, standings, program)
    return bind_signup(license, clicks, standings, program)


def bind_signup(license: License, clicks: Iterable[CandidateClick], standings: Standings, program: Program) -> Decision:
    """R2, else R3, then R4, for a license that a visitor signed up for."""
    decision = _last_touch_or_hint(clicks, license.partner_hint, license.started_at, standings, program)
    return _without_self_referral(decision, license.client_email_hash, standings, program)


def bind_solution(license: License, standings: Standings, program: Program) -> Decision:
    """R5, then R4, for a license that a partner created. The partner need not be known yet."""
    decision = Decision(license.creator_id, None, Reason.SOLUTION_LICENSE, "R5")
    return _without_self_referral(decision, license.client_email_hash, standings, program)


def recruit(joined: Joined, clicks: Iterable[CandidateClick], standings: Standings, program: Program) -> Decision:
    """R7: who recruited a partner, decided for the moment of the join. Never the partner themself."""
    decision = _last_touch_or_hint(clicks, joined.recruiter_hint, joined.joined_at, standings, program)
    if decision.partner_id == joined.partner_id:
        decision = _refused(decision, "R7", "R7: a partner is never their own recruiter")
    else:
        decision = _without_self_referral(decision, joined.email_hash, standings, program)
    return replace(decision, partner_id="") if decision.reason == Reason.SELF_REFERRAL else decision


def _last_touch_or_hint(
    clicks: Iterable[CandidateClick], hint: str, moment: int, standings: Standings, program: Program
) -> Decision:
    """R2: the newest countable click in the window. R3: else the partner whom the site named, if active then."""
    judged = judge_clicks(clicks, moment, standings, program)
    winner = next((each.click for each in judged if not each.refused), None)
    if winner:
        return Decision(winner.partner_id, winner, Reason.LAST_TOUCH, "R2", judged)
    named = standings.get(hint)
    if named is None or named.joined_at > moment:
        return Decision("", None, Reason.NONE, "R3" if hint else "R2", judged)
    if named.suspended_at(moment):
        return Decision("", None, Reason.PARTNER_SUSPENDED, "R11", judged)
    return Decision(hint, None, Reason.EXPLICIT_PARTNER, "R3", judged)


def judge_clicks(
    clicks: Iterable[CandidateClick], moment: int, standings: Standings, program: Program
) -> tuple[JudgedClick, ...]:
    """Every click with its fate at a signup or join of `moment`, newest first; at most one is not refused (R1, R2)."""
    judged: list[JudgedClick] = []
    has_winner = False
    for click in sorted(clicks, key=lambda each: (each.clicked_at, each.click_id), reverse=True):
        uncounted = _not_countable(click, standings)
        refused = uncounted or _outside_window(click.clicked_at, moment, program)
        if not refused and has_winner:
            refused = "R2: an older click; the newest one wins"
        has_winner = has_winner or not refused
        judged.append(JudgedClick(click, not uncounted, refused))
    return tuple(judged)


def _not_countable(click: CandidateClick, standings: Standings) -> str:
    """R1: why a click does not count, or nothing."""
    if click.verdict != Verdict.HUMAN:
        return f"R1: {click.verdict}"
    partner = standings.get(click.partner_id)
    if partner is None:
        return "R1: the partner is not known"
    if partner.joined_at > click.clicked_at:
        return "R1: partner had not joined"
    return "R1: partner suspended" if partner.suspended_at(click.clicked_at) else ""


def _outside_window(clicked_at: int, moment: int, program: Program) -> str:
    """R2: both ends of the window belong to it."""
    if clicked_at > moment:
        return "R2: after the signup"
    if clicked_at < moment - program.window_ms:
        return f"R2: older than the window of {program.window_days} days"
    return ""


def _without_self_referral(decision: Decision, email_hash: str, standings: Standings, program: Program) -> Decision:
    """R4: the same e-mail on both sides. No older click and no hint takes the place."""
    partner = standings.get(decision.partner_id)
    if program.allow_self_referral or partner is None or not email_hash or partner.email_hash != email_hash:
        return decision
    return _refused(decision, "R4", "R4: the e-mail is the partner's own")


def _refused(decision: Decision, rule: str, text: str) -> Decision:
    """A decision turned down as self-referral; the click that had won says so."""
    judged = tuple(replace(each, refused=each.refused or text) for each in decision.judged)
    return replace(decision, reason=Reason.SELF_REFERRAL, rule=rule, judged=judged)
