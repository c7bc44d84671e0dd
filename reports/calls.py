"""The API of the app as one table: what may be called, by whom, with what. Routes and `/openapi.json` come from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attribution.paths import MAX_TOUCHES
from reports.access import ADMIN, FINANCE, MARKETING, PARTNER, Handler, whole
from reports.admin import api as admin
from reports.admin import deliveries, maintenance
from reports.finance import api as finance
from reports.marketing import models, whatif
from reports.marketing.funnel import GROUPINGS, funnel_call
from reports.partner_app import api as partner
from tracker.delivery import CHANNELS, STATUSES
from tracker.program import MAX_WINDOW_DAYS


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter. `choices` are all its values where they are few; `most` is a limit's."""

    name: str
    about: str
    choices: tuple[str, ...] = ()
    most: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API. `path` is Starlette's; `body` and `answer` map fields to what they hold. The handler of what
    rounds have decided is `whole`, but for those that read the whole history: these read it as one round saw it."""

    method: str
    path: str
    handler: Handler
    scopes: tuple[str, ...]
    tag: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    answer: Mapping[str, str] = field(default_factory=dict)
    is_list: bool = False
    """The answer is `{"items": [answer, …], "next_cursor"}`."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """What a list's answer holds next to `items`."""
    has_csv: bool = False


CURSOR = Parameter("cursor", "next_cursor of the page before; the newest page without it")
DATE_FROM = Parameter("date_from", "Start, inclusive: a date or an RFC 3339 time")
DATE_TO = Parameter("date_to", "End, exclusive; a bare date means the end of that day")
PARTNER_ID = Parameter("partner_id", "One partner only")
LICENSE_ID = Parameter("license_id", "One license only")
PAYMENT_ID = Parameter("payment_id", "One payment only")


LINK = Parameter("link", "Any link, as it would be shared")
LINK_CHECK = {
    "link": "text, as it was understood",
    "kind": "text, empty where it is no link of the program's",
    "verdict": "text, the answer in a sentence",
    "counts": "whether a click on it counts; for partners, for them",
    "whose": "own, other, or empty where nobody gets the click",
    "facts": "an object of names and texts: where it leads, its product, campaign, deal and what is passed on",
    "findings": "list of {level, text}; level is wrong, careful or note",
}


def limit(most: int) -> Parameter:
    return Parameter("limit", f"Rows of a page, 1 to {most}; 100 without it", most=most)


TOKEN = {
    "token": "the secret, shown this once",
    "id": "number",
    "scope": "text",
    "label": "text",
    "created_at": "time",
    "expires_at": "time, or null",
    "last_used_at": "time to the minute, or null",
}
LISTED_TOKEN = {name: about for name, about in TOKEN.items() if name != "token"}
DELIVERY = {
    "delivery_id": "text: the webhook-id, or the Message-ID's first part",
    "channel": f"text: {' or '.join(CHANNELS)}",
    "type": "text: what happened",
    "license_id": "text or null",
    "organization_id": "text or null",
    "partner_id": "text",
    "status": f"text: {', '.join(STATUSES)}",
    "ordered_at": "time",
    "attempts": "number of tries since it was ordered or sent again",
    "last_attempts": "list of {at, outcome}, oldest first",
    "next_at": "time of the next try; null when none is planned",
    "settled_at": "time when it was taken or given up, or null",
}
LINE = {
    "entry_id": "text",
    "posted_at": "time when the line was written",
    "occurred_at": "time of the money event that the line belongs to",
    "partner_id": "who earned it",
    "tier": "1 or 2",
    "kind": "commission, refund, chargeback, chargeback_won or correction",
    "payment_id": "text; null in a partner's own second-tier lines",
    "license_id": "text; null in a partner's own second-tier lines",
    "referred_partner_id": "second tier: the partner whose license paid; else null",
    "product": "text",
    "basis_cents": "number that the percent is taken of",
    "percent": "number",
    "amount_cents": "number",
    "currency": "text",
    "reason": "why a correction was needed; else null",
}
CHAIN = {
    "entry_id": "text",
    "is_blocked": "whether the line is on hold",
    "steps": "list from the payment back to the recruiter; `step` is payment, license, signup, click, partner, join "
    "or recruiter",
}

WITHDRAWAL = {
    "withdrawal_id": "number",
    "partner_id": "text",
    "requested_at": "time",
    "settled_at": "time, or null while it waits",
    "status": "pending, paid or rejected",
    "amount_cents": "number",
    "currency": "text",
    "invoice_id": "text: year/month/Partner ID",
    "paypal": "text: where the money goes, as it was when the partner asked",
    "balance_cents": "number: the partner's balance now, with this request taken off unless it was rejected",
}

CALLS: tuple[Call, ...] = (
    Call(
        "GET", "/v2/partners/overview", whole(partner.overview), PARTNER, "Partner",
        "Your clicks, signups and commission by day, days without any included, and your balance.",
        (Parameter("date_from", "The first day, a date in UTC; without it 30 days end with date_to"),
         Parameter("date_to", "The last day, a date in UTC, at most a year after the first; today without it")),
        answer={"date_from": "text", "date_to": "text", "totals": "sums of the items' numbers",
                "commission_cents": "number, of all time", "blocked_cents": "number, on hold",
                "balance_cents": "number",
                "items": "list of {day, clicks, signups, first_tier_cents, second_tier_cents}"},
    ),
    Call(
        "GET", "/v2/partners/links/check", partner.link_check, PARTNER, "Partner",
        "What a link does when somebody follows it, and what is wrong with it. Nothing is followed or counted.",
        (LINK,), answer=LINK_CHECK,
    ),
    Call(
        "GET", "/v2/partners/commissions", whole(partner.list_commissions), PARTNER, "Partner",
        "Your commission lines, newest money event first.",
        (Parameter("tier", "One tier only; 0 for both", ("0", "1", "2")), LICENSE_ID, PAYMENT_ID, DATE_FROM, DATE_TO,
         CURSOR, limit(partner.MAX_ROWS)),
        answer=LINE, is_list=True,
    ),
    Call(
        "GET", "/v2/partners/commissions/{entry_id}/chain", whole(partner.commission_chain), PARTNER, "Partner",
        "Why a commission line of yours is there, step by step.", answer=CHAIN,
    ),
    Call(
        "GET", "/v2/partners/licenses/{license_id}/explanation", whole(partner.license_explanation), PARTNER, "Partner",
        "Why a license is yours, what became of its visitor's clicks, and what each payment earned you or why not.",
        answer={"license_id": "text", "reason": "text", "rule": "text", "rule_text": "text", "started_at": "time",
                "is_blocked": "whether its commission is on hold",
                "clicks": "list of {clicked_at, is_own, counted, refused}, newest first; null: it won",
                "payments": "the newest, a list of {paid_at, amount_cents, earned_cents, text, came_back}; "
                "amount_cents is null where it is not for you to see"},
    ),
    Call(
        "GET", "/v2/partners/licenses/{license_id}/subscription-events", partner.subscription_changes, PARTNER,
        "Partner", "All that was done with the subscription of a solution license of yours, newest first. It follows "
        "what a call changed within seconds.", (CURSOR, limit(partner.MAX_ROWS)),
        answer={"number": "number of the change, from 1", "occurred_at": "time",
                "kind": "created, changed, closing (at the end of its period), closed (at once) or transferred (to the "
                "client)",
                "plan": "text: from then on, or as it was when it ended", "billing_cycle": "monthly or annual",
                "seats": "number", "closes_at": "time when it ends or ended; null while it renews by itself"},
        is_list=True,
    ),
    Call(
        "GET", "/v2/admin/partners", whole(admin.list_partners), ADMIN, "Admin", "Partners, newest first.",
        (Parameter("search", "Part of the Partner ID, name or e-mail"), CURSOR, limit(admin.MAX_ROWS)),
        answer={"partner_id": "text", "name": "text", "email": "text", "recruiter_id": "text or null",
                "status": "active or suspended", "joined_at": "time"},
        is_list=True,
    ),
    Call(
        "GET", "/v2/admin/partners/{partner_id}/tokens", admin.list_partner_tokens, ADMIN, "Admin",
        "A partner's active tokens, without their secrets.", answer=LISTED_TOKEN, is_list=True,
    ),
    Call(
        "POST", "/v2/admin/partners/{partner_id}/tokens", admin.create_partner_token, ADMIN, "Admin",
        "Make a token for a partner; with `expires_at`, a time, it stops working then.",
        body={"label": "1–100 characters, unlike the partner's other labels"},
        status=201, answer=TOKEN,
    ),
    Call(
        "DELETE", "/v2/admin/partners/{partner_id}/tokens/{token_id:int}", admin.revoke_partner_token, ADMIN, "Admin",
        "Make a partner's token stop working.", status=204,
    ),
    Call(
        "GET", "/v2/admin/service-tokens", admin.list_service_tokens, ADMIN, "Admin",
        "Active tokens of programs, marketing and finance, without their secrets.", answer=LISTED_TOKEN, is_list=True,
    ),
    Call(
        "POST", "/v2/admin/service-tokens", admin.create_service_token, ADMIN, "Admin", "Make a token.",
        body={"label": "1–100 characters, unlike the other labels of the scope",
              "scope": f"one of {', '.join(admin.SERVICE_SCOPES)}"},
        status=201, answer=TOKEN,
    ),
    Call(
        "DELETE", "/v2/admin/service-tokens/{token_id:int}", admin.revoke_service_token, ADMIN, "Admin",
        "Make a token stop working.", status=204,
    ),
    Call(
        "GET", "/v2/admin/licenses/{license_id}/attribution", whole(admin.license_attribution), ADMIN, "Admin",
        "Whose a license is, by which rule, and why each click of the visitor won or lost.",
        answer={"license_id": "text", "partner_id": "text or null", "recruiter_id": "text or null", "reason": "text",
                "rule": "text", "rule_text": "text", "product": "text", "started_at": "time",
                "origin": "text, signup or solution", "payment_origin": "text, client or partner",
                "is_blocked": "whether its commission is on hold",
                "candidates": "list of {click_id, clicked_at, partner_id, counted, refused}"},
    ),
    Call(
        "GET", "/v2/admin/payments/{payment_id}/explanation", whole(admin.payment_explanation), ADMIN, "Admin",
        "What a payment earned whom on each tier, or why it earned nobody anything.",
        answer={"payment_id": "text", "license_id": "text", "paid_at": "time", "amount_cents": "number",
                "currency": "text", "is_blocked": "whether its commission is on hold",
                "tiers": "list of {tier, partner_id, percent, earned_cents, withheld, text}; withheld is null "
                "where the tier earns",
                "money_events": "list of {kind, occurred_at, base_cents}: what commission is taken of after each (R8)"},
    ),
    Call(
        "GET", "/v2/admin/links/check", admin.link_check, ADMIN, "Admin",
        "What a link does when somebody follows it, whose it is, and what is wrong with it.",
        (LINK,), answer=LINK_CHECK,
    ),
    Call(
        "GET", "/v2/admin/commissions", whole(admin.list_commissions), ADMIN, "Admin",
        "Commission lines of everyone, newest money event first.",
        (PARTNER_ID, LICENSE_ID, PAYMENT_ID, DATE_FROM, DATE_TO, CURSOR, limit(admin.MAX_ROWS)),
        answer=LINE, is_list=True,
    ),
    Call(
        "GET", "/v2/admin/commissions/{entry_id}/chain", whole(admin.commission_chain), ADMIN, "Admin",
        "Why a commission line is there, step by step.", answer=CHAIN,
    ),
    Call(
        "GET", "/v2/admin/withdrawals", finance.list_withdrawals, FINANCE, "Finance",
        "What partners asked to be paid, latest first.",
        (Parameter("status", "In one state only", ("all", *finance.STATUSES)), PARTNER_ID,
         Parameter("date_from", "Asked from here on, inclusive: a date or an RFC 3339 time"),
         Parameter("date_to", "Asked before, exclusive; a bare date means the end of that day"),
         CURSOR, limit(finance.MAX_ROWS), Parameter("format", "json or csv", ("json", "csv"))),
        answer=WITHDRAWAL, is_list=True, has_csv=True,
    ),
    *(
        Call(
            "POST", f"/v2/admin/withdrawals/{{withdrawal_id:int}}/{status}", handler, FINANCE, "Finance",
            f"{about} The same again changes nothing; 409 where it was settled the other way.", answer=WITHDRAWAL,
        )
        for status, handler, about in (
            ("paid", finance.mark_paid, "Say that a withdrawal was paid."),
            ("rejected", finance.mark_rejected, "Refuse a withdrawal; its amount goes back to the partner's balance."),
        )
    ),
    Call(
        "POST", "/v2/admin/audit", maintenance.run_audit, ADMIN, "Admin",
        "Recompute every commission line from the raw facts and compare to the cent, and what else must agree.",
        (Parameter("replay", "true: also build everything derived anew in a scratch database, and compare",
                   ("false", "true")),),
        answer={"is_clean": "whether everything agrees", "round": "number", "through_load": "number",
                "lines": "number of lines compared", "difference_count": "number",
                "differences": "list, in cents; the first with their `chain`, a list of text",
                "finding_counts": "object: findings by kind, zeros where nothing was found",
                "findings": "list of {kind, subject, detail}",
                "touches": "object: how many visitors' touches in Redis were compared with their clicks",
                "is_replayed": "whether a replay was compared"},
    ),
    Call(
        "POST", "/v2/admin/rebuild", maintenance.run_rebuild, ADMIN, "Admin",
        "Rebuild Redis and the derived tables from the facts while loading stands still; the ledger is only added to.",
        answer={"steps": "list of text, one per finished step"},
    ),
    Call(
        "POST", "/v2/admin/quarantine/replay", maintenance.run_replay, ADMIN, "Admin",
        "Put quarantined pieces back into the journal.",
        body={"ids": "list of quarantine ids"}, answer={"replayed": "list of the ids that were there"},
    ),
    Call(
        "GET", "/v2/admin/deliveries", deliveries.list_deliveries, ADMIN, "Admin",
        "All that LiveChat's own system and clients were told, newest first: webhooks and e-mails, with their tries.",
        (Parameter("status", "One status only", ("", *STATUSES)), Parameter("channel", "One channel only",
         ("", *CHANNELS)), CURSOR, limit(deliveries.MAX_ROWS)),
        answer=DELIVERY, is_list=True,
    ),
    Call(
        "POST", "/v2/admin/deliveries/{delivery_id}/resend", deliveries.resend, ADMIN, "Admin",
        "Send it again now, under the same id, whatever became of it; a receiver that had said that it is gone is "
        "tried again.", status=202, answer=DELIVERY,
    ),
    Call(
        "POST", "/v2/admin/deliveries/resend", deliveries.resend_many, ADMIN, "Admin",
        "Send the webhooks that were not sent because no receiver was set, or that were given up, oldest first, each "
        f"under its id: up to {deliveries.MOST_RESENT:,} at a time. 409 while no receiver is set.",
        body={"status": "text: not_sent or failed"},
        answer={"resent": "number of those that wait again", "left": "number of those that are left for the next time"},
    ),
    Call(
        "GET", "/v2/admin/quarantine", admin.list_quarantine, ADMIN, "Admin",
        "What could not be understood, with its bytes and the reason, newest first.", (CURSOR, limit(admin.MAX_ROWS)),
        answer={"quarantine_id": "text", "stream": "text", "entry_id": "text", "field": "text", "line": "number",
                "facts": "number of accepted facts that these bytes stand for", "text": "the bytes as text",
                "bytes_base64": "text, the bytes", "reason": "text", "quarantined_at": "time"},
        is_list=True,
    ),
    Call(
        "GET", "/v2/reports/funnel", whole(funnel_call), MARKETING, "Marketing",
        "The funnel: a cohort of clicks and how far the licenses that they won have come.",
        (DATE_FROM, DATE_TO, Parameter("product", "Clicks that led to this product"), PARTNER_ID,
         Parameter("campaign", "Clicks of this campaign (slug)"), Parameter("country", "Two letters, ISO 3166-1"),
         Parameter("device", "Clicks from this kind of device"),
         Parameter("group_by", "One item per value", GROUPINGS), Parameter("format", "json or csv", ("json", "csv"))),
        answer={"group": "text", "clicks": "number", "visitors": "number", "trials": "number", "qualified": "number",
                "card_added": "number", "paid": "number", "expired": "number", "revenue_cents": "number"},
        is_list=True, has_csv=True,
    ),
    Call(
        "GET", "/v2/reports/models", models.models_call, MARKETING, "Marketing",
        "What multi-touch models give each partner, campaign or product of the signups that clicks won. "
        "Information only: commission goes by the last touch.",
        (Parameter("date_from", "Paths that end from here on: with their signup, or their last click"),
         Parameter("date_to", "End of that period, exclusive; a bare date means the end of that day"),
         Parameter("model", "One model only; all without it", ("all", *models.MODELS)),
         Parameter("by", "What the touches of a path are", models.GROUPINGS),
         Parameter("conversion", "trial: every signup that a click won; paid: those that have paid by now",
                   models.CONVERSIONS),
         Parameter("product", "Signups for this product, and paths without one whose last link led to it"),
         Parameter("half_life_days", f"Time decay: the age at which a touch weighs half; "
                   f"{models.DEFAULT_HALF_LIFE_DAYS:g} without it"),
         Parameter("order", "Markov: how many touches make a state", models.ORDERS),
         Parameter("format", "json or csv", ("json", "csv"))),
        answer={"group": "text: Partner ID, campaign's slug (empty without one) or product", "model": "text",
                "conversions": "number, with fractions", "revenue_cents": "number that the conversions paid, net (R8)",
                "difference_conversions": "number: what this is more than the last touch gives",
                "difference_revenue_cents": "number: the same, in cents"},
        is_list=True, has_csv=True,
        beside={"paths": "object of numbers: `conversions`, `revenue_cents` and `nulls` (journeys that ended without "
                "one) of all paths; `null_shares` (of so many visitors without a signup one was looked at, and "
                "counted so many times); `distinct` paths that the models saw; `paths_left_out` and "
                "`conversions_left_out` of rarer ones; `shortened`: journeys with more than "
                f"{MAX_TOUCHES} touches, of which the first and the newest count"},
    ),
    Call(
        "GET", "/v2/reports/whatif", whatif.whatif_call, MARKETING, "Marketing",
        "What the ledger would be under other rules over the same history, per partner, beside what it is. "
        "It reads the whole history and changes nothing.",
        (Parameter("window_days", f"Days from a click to a signup, 1 to {MAX_WINDOW_DAYS}; the program's without it"),
         Parameter("first_tier_percent", "Of every payment, 0 to 100; the program's without it"),
         Parameter("second_tier_percent", "For the recruiter, 0 to 100; the program's without it"),
         Parameter("model", "Which countable click in the window wins, of signups and of joins", whatif.MODELS),
         Parameter("allow_self_referral", "Whether R4 is off; the program's setting without it", whatif.YES_OR_NO),
         Parameter("format", "json or csv", ("json", "csv"))),
        answer={"partner_id": "text", "licenses_now": "number of licenses bound to the partner",
                "licenses_then": "number, under the other rules", "first_tier_now_cents": "number, of the ledger",
                "first_tier_then_cents": "number", "second_tier_now_cents": "number",
                "second_tier_then_cents": "number", "difference_cents": "number: both tiers, then less now"},
        is_list=True, has_csv=True,
        beside={"now": "object: the program's rules", "then": "object: the rules that were asked for",
                "round": "number: the newest round that was looked at", "through_load": "number",
                "moved_licenses": "number of licenses that would be somebody else's, or nobody's",
                "total": "object: the sums of all items"},
    ),
)  # fmt: skip
