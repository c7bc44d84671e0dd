"""R1–R5 and R7 as pure functions: who wins, and what every other click is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attribution.binding import CandidateClick, Joined, License, Origin, Reason, bind, recruit
from tracker.program import Program
from tracker.standing import Change, standing

DAY = 86_400_000
PROGRAM = Program()
STANDINGS = {
    "A": standing("A", 0, "a@"),
    "B": standing("B", 0, "b@"),
    "late": standing("late", 50 * DAY, "late@"),
    "held": standing("held", 0, "held@", [Change(10 * DAY, "e1", "suspended"), Change(20 * DAY, "e2", "reinstated")]),
}
SIGNUP = License("L", "livechat", 130 * DAY, Origin.SIGNUP, client_email_hash="client@")


def click(name: str, day: float, partner_id: str, verdict: str = "human") -> CandidateClick:
    return CandidateClick(name, round(day * DAY), partner_id, verdict=verdict)


@pytest.mark.parametrize(
    ("clicks", "hint", "email", "expected"),
    [
        ([click("1", 20, "A"), click("2", 30, "B")], "", "", ("B", "2", "last_touch", "R2")),
        ([click("1", 10, "A")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 10 - 1 / DAY, "A")], "", "", ("", "", "none", "R2")),
        ([click("1", 130, "A")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 130 + 1 / DAY, "A")], "", "", ("", "", "none", "R2")),
        ([click("b", 20, "A"), click("a", 20, "B")], "", "", ("A", "b", "last_touch", "R2")),
        ([click("1", 20, "A"), click("2", 30, "B", "bot")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 20, "A"), click("2", 49, "late")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 20, "A"), click("2", 30, "ghost")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 11, "A"), click("2", 19, "held")], "", "", ("A", "1", "last_touch", "R2")),
        ([click("1", 11, "A"), click("2", 20, "held")], "", "", ("held", "2", "last_touch", "R2")),
        ([click("1", 20, "A")], "B", "", ("A", "1", "last_touch", "R2")),
        ([], "B", "", ("B", "", "explicit_partner", "R3")),
        ([], "ghost", "", ("", "", "none", "R3")),
        ([click("1", 20, "A"), click("2", 30, "B")], "A", "b@", ("B", "2", "self_referral", "R4")),
        ([], "B", "b@", ("B", "", "self_referral", "R4")),
    ],
)
def test_signups(clicks: list[CandidateClick], hint: str, email: str, expected: tuple[str, str, str, str]) -> None:
    license = replace(SIGNUP, partner_hint=hint, client_email_hash=email)
    decision = bind(license, clicks, STANDINGS, PROGRAM)
    won = decision.click.click_id if decision.click else ""
    assert (decision.partner_id, won, decision.reason, decision.rule) == expected


@pytest.mark.parametrize(
    ("hint", "day", "reason"),
    [
        ("held", 10, "partner_suspended"),
        ("held", 20, "explicit_partner"),
        ("late", 49, "none"),
        ("late", 50, "explicit_partner"),
    ],
)
def test_who_the_site_named_must_be_active_at_the_signup(hint: str, day: int, reason: str) -> None:
    decision = bind(replace(SIGNUP, started_at=day * DAY, partner_hint=hint), [], STANDINGS, PROGRAM)
    assert (decision.reason, decision.partner_id) == (reason, hint if reason == "explicit_partner" else "")


def test_every_click_is_told_why() -> None:
    clicks = [
        click("after", 131, "A"),
        click("bot", 129, "A", "bot"),
        click("ghost", 128, "ghost"),
        click("winner", 127, "B"),
        click("older", 126, "A"),
        click("late", 49, "late"),
        click("held", 15, "held"),
        click("old", 9, "A"),
    ]
    judged = bind(SIGNUP, reversed(clicks), STANDINGS, PROGRAM).judged
    assert [(each.click.click_id, each.counted, each.refused) for each in judged] == [
        ("after", True, "R2: after the signup"),
        ("bot", False, "R1: bot"),
        ("ghost", False, "R1: the partner is not known"),
        ("winner", True, ""),
        ("older", True, "R2: an older click; the newest one wins"),
        ("late", False, "R1: partner had not joined"),
        ("held", False, "R1: partner suspended"),
        ("old", True, "R2: older than the window of 120 days"),
    ]


def test_a_self_referred_click_is_told_so() -> None:
    clicks = [click("1", 20, "A"), click("2", 30, "B")]
    judged = bind(replace(SIGNUP, client_email_hash="b@"), clicks, STANDINGS, PROGRAM).judged
    assert [each.refused for each in judged] == [
        "R4: the e-mail is the partner's own",
        "R2: an older click; the newest one wins",
    ]


def test_self_referral_may_be_allowed() -> None:
    allowing = replace(PROGRAM, allow_self_referral=True)
    decision = bind(replace(SIGNUP, client_email_hash="b@"), [click("2", 30, "B")], STANDINGS, allowing)
    assert decision.reason == Reason.LAST_TOUCH


@pytest.mark.parametrize(
    ("creator", "email", "reason", "rule"),
    [
        ("A", "client@", "solution_license", "R5"),
        ("late", "client@", "solution_license", "R5"),
        ("ghost", "client@", "solution_license", "R5"),
        ("A", "a@", "self_referral", "R4"),
        ("A", "", "solution_license", "R5"),
    ],
)
def test_solution_licenses_belong_to_their_creator(creator: str, email: str, reason: str, rule: str) -> None:
    license = License("S", "livechat", 30 * DAY, Origin.SOLUTION, creator_id=creator, client_email_hash=email)
    decision = bind(license, [click("1", 29, "B")], STANDINGS, PROGRAM)
    assert (decision.partner_id, decision.click, decision.reason, decision.rule) == (creator, None, reason, rule)


@pytest.mark.parametrize(
    ("clicks", "hint", "email", "expected"),
    [
        ([click("1", 29, "A")], "", "new@", ("A", "last_touch", "R2")),
        ([], "A", "new@", ("A", "explicit_partner", "R3")),
        ([], "", "new@", ("", "none", "R2")),
        ([], "new", "new@", ("", "self_referral", "R7")),
        ([click("1", 29, "B"), click("2", 30, "new")], "A", "new@", ("", "self_referral", "R7")),
        ([click("1", 28, "B"), click("2", 29, "A")], "B", "a@", ("", "self_referral", "R4")),
    ],
)
def test_recruiters(clicks: list[CandidateClick], hint: str, email: str, expected: tuple[str, str, str]) -> None:
    joined = Joined("new", 30 * DAY, email, recruiter_hint=hint)
    standings = {**STANDINGS, "new": standing("new", 30 * DAY, email)}
    decision = recruit(joined, clicks, standings, PROGRAM)
    assert (decision.partner_id, decision.reason, decision.rule) == expected


def test_allowing_self_referral_lets_nobody_recruit_themself() -> None:
    allowing = replace(PROGRAM, allow_self_referral=True)
    standings = {**STANDINGS, "new": standing("new", 0, "a@")}
    assert recruit(Joined("new", DAY, "a@", recruiter_hint="new"), [], standings, allowing).partner_id == ""
    assert recruit(Joined("new", DAY, "a@", recruiter_hint="A"), [], standings, allowing).partner_id == "A"
