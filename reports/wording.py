"""How pages write values for people: times, money, percents, and the words for reasons."""

from __future__ import annotations

from datetime import UTC, datetime

from tracker.program import percent_number


def day(moment: int) -> str:
    """`11 Feb 2026`, UTC."""
    at = datetime.fromtimestamp(moment // 1000, UTC)
    return f"{at.day} {at:%b %Y}"


def minute(moment: int) -> str:
    """`11 Feb 2026, 13:18`, UTC."""
    at = datetime.fromtimestamp(moment // 1000, UTC)
    return f"{at.day} {at:%b %Y, %H:%M}"


def money(cents: int, currency: str = "USD") -> str:
    """`$1,234.50`, `−$3.00`; other currencies as `1,234.50 EUR`."""
    sign = "−" if cents < 0 else ""
    amount = f"{abs(cents) // 100:,}.{abs(cents) % 100:02d}"
    return f"{sign}${amount}" if currency == "USD" else f"{sign}{amount} {currency}"


def percent(hundredths: int) -> str:
    """2000 → `20 %`."""
    return f"{percent_number(hundredths)} %"


def share(part: int, whole: int) -> str:
    """`part` of `whole` as `12.3 %`; a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def count(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def tenths(number: float) -> str:
    """`12,345.6`; `12,345` where there is nothing behind the point."""
    return f"{number:,.1f}".removesuffix(".0")


BINDING_REASONS = {
    "last_touch": "Your link was the last one the visitor followed before signing up.",
    "explicit_partner": "The signup named your Partner ID, and the visitor had followed no link.",
    "solution_license": "You created this license for your client.",
    "self_referral": "The client's e-mail is your own, so it earns no commission.",
    "partner_suspended": "The signup named a partner who was suspended then.",
    "none": "No partner's link led to this signup.",
}

CLICK_REFUSALS = {
    "counted": "Counted",
    "bot": "Not counted: a bot or crawler",
    "prefetch": "Not counted: a prefetch or link preview",
    "head": "Not counted: only the headers were asked for",
    "opted-out": "Not counted: the visitor opted out of tracking",
    "not-joined": "Not counted: it came before the partner joined",
    "suspended": "Not counted: the partner was suspended",
}

LINE_KINDS = {
    "commission": "Commission",
    "refund": "Refund",
    "chargeback": "Chargeback",
    "chargeback_won": "Chargeback won",
    "correction": "Correction",
}

STAGES = {
    "trial": "Trial",
    "qualified": "Qualified",
    "card_added": "Card added",
    "paid": "Paid",
    "expired": "Expired",
}

SUBSCRIPTION_CHANGES = {
    "created": "Put on a plan",
    "changed": "Changed",
    "closing": "Closed at the end of its period",
    "closed": "Closed at once",
    "transferred": "Handed over to the client",
}


def words(table: dict[str, str], key: str) -> str:
    """The words for a key; a key that has none is shown as it is, blanks for underscores."""
    return table.get(key, key.replace("_", " ").replace("-", " "))
