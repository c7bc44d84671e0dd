"""A chain in words: each step of its document as a title, a sentence, a time and the rule that decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import wording
from tracker.program import Program

_LEADING_RULES = re.compile(r"^R\d+(?:(?:, | by )R\d+)*: ")


@dataclass(frozen=True, slots=True)
class StepWords:
    """One step for people. `at` is a time of the document, RFC 3339, or None."""

    title: str
    text: str
    at: str | None
    rule: str


def chain_words(document: Mapping[str, Any], program: Program) -> list[StepWords]:
    """The steps of a partner's chain document, in its order."""
    return [_step(step, program) for step in document["steps"]]


def _step(step: Mapping[str, Any], program: Program) -> StepWords:
    match step["step"]:
        case "payment":
            return _payment(step)
        case "license":
            return _license(step, program)
        case "signup":
            title = "You created the license" if step["origin"] == "solution" else "The visitor signed up"
            return StepWords(title, _plain(step["text"]), step["started_at"], step["rule"])
        case "click":
            where = ", ".join(filter(None, (step["country"], step["device"])))
            campaign = f", campaign {step['campaign']}" if step["campaign"] else ""
            title = f"They followed {step['partner_id']}'s link to {_product(step['product'], program)}{campaign}"
            return StepWords(title, f"From {where}." if where else "", step["clicked_at"], "R1")
        case "join":
            title = f"{step['partner_id']} joined the program"
            return StepWords(title, _plain(step["text"]), step["joined_at"], step["rule"])
        case role:
            title = f"{'Recruited by' if role == 'recruiter' else 'Partner'} {step['partner_id']}"
            return StepWords(title, "", None, "")


def _payment(step: Mapping[str, Any]) -> StepWords:
    if "referred_partner_id" in step:
        kind = wording.words(wording.LINE_KINDS, step["kind"]) if step["kind"] != "commission" else "Payment"
        basis = wording.money(step["basis_cents"], step["currency"])
        title = f"{kind} of {basis} on a license of {step['referred_partner_id']}"
        return StepWords(title, "", step["occurred_at"], "")
    amount = wording.money(step["amount_cents"], step["currency"])
    if refund := step["refund"]:
        back = wording.money(refund["amount_cents"], step["currency"])
        title = f"{wording.words(wording.LINE_KINDS, refund['kind'])} of {back}"
        return StepWords(title, f"Of the {amount} paid with {step['payment_id']}.", refund["refunded_at"], "R8")
    return StepWords(f"Payment of {amount}", f"Payment {step['payment_id']}.", step["paid_at"], "R6")


def _license(step: Mapping[str, Any], program: Program) -> StepWords:
    client = step["client_email_masked"]
    sentences = [f"Client {client}." if client else ""]
    if step["discount_cents"] is not None:
        sentences.append(f"You paid, {wording.money(step['discount_cents'], program.currency)} less.")
    if step["is_blocked"]:
        sentences.append("It is on hold: its commission is in no balance until that is lifted (R12).")
    title = f"{_product(step['product'], program)} license {step['license_id']}"
    return StepWords(title, " ".join(filter(None, sentences)), None, "")


def _product(key: str, program: Program) -> str:
    return program.products[key].name if key in program.products else key


def _plain(text: str) -> str:
    """A reason without the rules that it starts with; they are shown beside it."""
    sentence = _LEADING_RULES.sub("", text)
    return f"{sentence[:1].upper()}{sentence[1:]}."
