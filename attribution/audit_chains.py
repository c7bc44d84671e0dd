"""The chain of a difference: from the payment to the partner, as the facts give it, and what the ledger posted."""

from __future__ import annotations

from collections.abc import Iterator

from attribution.explain import explain_license, explain_payment
from attribution.recomputation import QUERIES
from attribution.warehouse import Warehouse
from tracker.program import Program
from tracker.rfc3339 import rfc3339


def difference_chain(
    warehouse: Warehouse, program: Program, round: int, license_id: str, payment_id: str, event: tuple[str, int, str]
) -> Iterator[str]:
    """Sentences on a money event, tier and partner (`event`) where the ledger up to `round` is not what the rules give:
    what was paid, whose the license is and why, what the tier gets, and the lines that stand."""
    money_event_id, tier, partner_id = event
    payment = explain_payment(warehouse, program, payment_id)
    if payment is None:
        yield f"payment {payment_id} is not among the facts"
    else:
        base = payment.payment
        yield f"payment {payment_id}: {base.amount_cents} cents on {rfc3339(base.paid_at)} for license {license_id}"
        for money in payment.money_events[1:]:
            change = money.base_after_cents - money.base_before_cents
            yield f"{money.money_event_id}: {change} cents on {rfc3339(money.occurred_at)}"
    license = explain_license(warehouse, program, license_id)
    if license is None:
        yield f"license {license_id} is not known"
    else:
        yield f"license {license_id} is {_whose(license.partner_id, license.recruiter_id)}; {license.rule_text}"
        if license.candidates and license.candidates[0].refused is None:
            click = license.candidates[0]
            yield f"click {click.click_id} of {click.partner_id} on {rfc3339(click.clicked_at)} won"
    if payment is not None:
        yield f"tier {tier}: {payment.texts[tier - 1]}" if tier in (1, 2) else f"tier {tier}: there is no such tier"
    lines = warehouse.rows(
        QUERIES["audit_posted"],
        round=round,
        payment_id=payment_id,
        money_event_id=money_event_id,
        tier=tier,
        partner_id=partner_id,
    )
    for line in lines:
        yield f"line {line['entry_id']} of round {line['round']} ({line['kind']}): {line['amount_cents']} cents"
    if not lines:
        yield "no line was posted"


def _whose(partner_id: str | None, recruiter_id: str | None) -> str:
    if partner_id is None:
        return "nobody's"
    return f"{partner_id}'s, recruited by {recruiter_id or 'nobody'}"
