"""What callers may send: one table of fields per kind of fact, and how each is read.

A reader takes a JSON value and gives a clean one, or raises ValueError with words that say how to mend it. Fields
that are not in the table are ignored and named in the answer (`ignored`), so that a newer caller still works
and a mistyped name does not go unseen. `null` means "not given".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tracker import ids
from tracker.errors import Invalid
from tracker.program import DAY_MS, Program, percent_hundredths

MAX_AMOUNT_CENTS = 1_000_000_000  # ten million dollars: more is a mistake in the unit
EARLIEST_MS = 1_009_843_200_000  # 2002-01-01, before any partner program of ours
FUTURE_LIMIT_MS = DAY_MS
MAX_EMAIL = 254  # RFC 5321 §4.5.3.1.3

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.(\d+))?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+")
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader may need to know besides the value."""

    program: Program
    now_ms: int


Reader = Callable[[Any, Reading], Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    read: Reader
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """A body that was read: clean values of the given fields, and the names that were ignored."""

    type: str
    values: Mapping[str, Any]
    ignored: tuple[str, ...]

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    @property
    def digest(self) -> str:
        """The same for the same kind and given values, whatever their order: 16 hex digits."""
        canonical = json.dumps([self.type, sorted(self.values.items())], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def caller_id(value: Any, _: Reading) -> str:
    if not isinstance(value, str) or not ids.is_caller_id(value):
        raise ValueError("must be text of 1–64 characters of A–Z a–z 0–9 _ . -")
    return value


def canonical_uuid(value: Any, _: Reading) -> str:
    if not isinstance(value, str) or not ids.is_uuid(value):
        raise ValueError("must be a UUID in canonical lower-case text, and not the nil UUID")
    return value


def text(limit: int, least: int = 0) -> Reader:
    """A reader of text without control characters, trimmed, of `least` to `limit` characters."""

    def read(value: Any, _: Reading) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        clean = value.strip()
        if any(ord(char) < 32 or ord(char) == 127 or "\ud800" <= char <= "\udfff" for char in clean):
            raise ValueError("must not hold control characters or broken Unicode")
        if not least <= len(clean) <= limit:
            raise ValueError(f"must have {f'{least}–' if least else 'at most '}{limit} characters")
        return clean

    return read


def email(value: Any, reading: Reading) -> str:
    clean: str = text(MAX_EMAIL)(value, reading)
    if not _EMAIL.fullmatch(clean):
        raise ValueError("must be an e-mail address such as jane@example.com")
    return clean


def whole_number(least: int, most: int) -> Reader:
    def read(value: Any, _: Reading) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return read


def one_of(*words: str) -> Reader:
    def read(value: Any, _: Reading) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return read


def product(value: Any, reading: Reading) -> str:
    name: str = one_of(*reading.program.products)(value, reading)
    return name


def data_center(value: Any, reading: Reading) -> str:
    name: str = one_of(*reading.program.data_centers)(value, reading)
    return name


def currency(value: Any, reading: Reading) -> str:
    if value != reading.program.currency:
        raise ValueError(f"must be {reading.program.currency}, the currency of the program")
    return reading.program.currency


def percent(value: Any, _: Reading) -> int:
    return percent_hundredths(value)


def country(value: Any, _: Reading) -> str:
    if not isinstance(value, str) or not _COUNTRY.fullmatch(value):
        raise ValueError("must be a country code of two letters (ISO 3166-1)")
    return value.upper()


def moment(value: Any, reading: Reading) -> int:
    """RFC 3339 → milliseconds since 1970; more digits are cut. At most 24 hours in the future."""
    at = any_moment(value, reading)
    if at > reading.now_ms + FUTURE_LIMIT_MS:
        raise ValueError("is more than 24 hours in the future")
    return at


def any_moment(value: Any, _: Reading) -> int:
    """Like `moment`, and may lie in the future (the end of a rate)."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) and len(value) <= 64 else None
    if match is None:
        raise ValueError("must be an RFC 3339 time with a zone, such as 2026-02-11T13:18:53Z")
    digits = match[1] or ""
    plain = value.upper().replace(" ", "T")
    if digits:
        plain = plain.replace(f".{digits}", "")
    try:
        at = datetime.fromisoformat(plain)
        milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 1000 + int(
            digits[:3].ljust(3, "0")
        )
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists; give one such as 2026-02-11T13:18:53Z") from None
    if milliseconds < EARLIEST_MS:
        raise ValueError("is before 2002-01-01")
    return milliseconds


AMOUNT = whole_number(1, MAX_AMOUNT_CENTS)

FIELDS: Mapping[str, tuple[Field, ...]] = {
    "partner": (
        Field("email", email, required=True),
        Field("name", text(200, least=1), required=True),
        Field("partner_id", caller_id),
        Field("visitor_id", canonical_uuid),
        Field("lt", text(512)),
        Field("recruiter_id", caller_id),
        Field("joined_at", moment),
    ),
    "signup": (
        Field("license_id", caller_id, required=True),
        Field("product", product, required=True),
        Field("visitor_id", canonical_uuid),
        Field("lt", text(512)),
        Field("partner_id", caller_id),
        Field("client_email", email),
        Field("client_name", text(200)),
        Field("data_center", data_center),
        Field("plan", text(64)),
        Field("seats", whole_number(1, 1_000_000)),
        Field("trial_days", whole_number(0, 365)),
        Field("signed_up_at", moment),
    ),
    "payment": (
        Field("payment_id", caller_id, required=True),
        Field("license_id", caller_id, required=True),
        Field("amount_cents", AMOUNT, required=True),
        Field("currency", currency, required=True),
        Field("paid_at", moment),
        Field("discount_cents", whole_number(0, MAX_AMOUNT_CENTS)),
        Field("method", one_of("card", "wire")),
        Field("billing_cycle", one_of("monthly", "annual")),
    ),
    "refund": (
        Field("refund_id", caller_id, required=True),
        Field("payment_id", caller_id, required=True),
        Field("amount_cents", AMOUNT, required=True),
        Field("kind", one_of("refund", "chargeback", "chargeback_won"), required=True),
        Field("refunded_at", moment),
    ),
    "license_event": (
        Field("event_id", caller_id, required=True),
        Field("license_id", caller_id, required=True),
        Field("kind", one_of("qualified", "card_added", "expired", "blocked", "unblocked"), required=True),
        Field("occurred_at", moment),
    ),
    "partner_event": (
        Field("event_id", caller_id, required=True),
        Field("partner_id", caller_id, required=True),
        Field("kind", one_of("suspended", "reinstated", "rate_changed"), required=True),
        Field("first_tier_percent", percent),
        Field("second_tier_percent", percent),
        Field("until", any_moment),
        Field("occurred_at", moment),
    ),
    "click": (
        Field("click_id", canonical_uuid, required=True),
        Field("clicked_at", moment, required=True),
        Field("visitor_id", canonical_uuid, required=True),
        Field("partner_id", caller_id, required=True),
        Field("product", product),
        Field("campaign", text(100)),
        Field("user_agent", text(2048)),
        Field("referrer", text(2048)),
        Field("country", country),
    ),
    "solution_license": (
        Field("license_id", caller_id, required=True),
        Field("product", product, required=True),
        Field("partner_id", caller_id, required=True),
        Field("client_email", email, required=True),
        Field("payment_origin", one_of("client", "partner"), required=True),
        Field("created_at", moment),
        Field("data_center", data_center),
    ),
    "license_transfer": (
        Field("event_id", caller_id, required=True),
        Field("license_id", caller_id, required=True),
        Field("occurred_at", moment),
    ),
}


def parse_json(raw: bytes, what: str = "body") -> dict[str, Any]:
    """One JSON object. Raises Invalid with the place of the mistake; `what` it calls the bytes."""
    try:
        document = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise Invalid(f"the {what} is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")
        raise Invalid(f"the {what} is not JSON: {reason} (character {error.pos + 1})") from None
    except (ValueError, RecursionError) as error:
        is_deep = isinstance(error, RecursionError)
        reason = "it is nested too deeply" if is_deep else "it holds a number that is too long or not a number"
        raise Invalid(f"the {what} is not JSON that we can read: {reason}") from None
    if not isinstance(document, dict):
        raise Invalid(f"the {what} must be a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def read_body(kind: str, document: Mapping[str, Any], reading: Reading) -> Body:
    """The fields of a fact of `kind`. Raises Invalid that names every bad field."""
    table = FIELDS[kind]
    values: dict[str, Any] = {}
    errors: list[dict[str, str]] = []
    for field in table:
        value = document.get(field.name)
        if value is None:
            if field.required:
                errors.append({"field": field.name, "message": "is required"})
            continue
        try:
            values[field.name] = field.read(value, reading)
        except ValueError as error:
            errors.append({"field": field.name, "message": str(error)})
    errors += _together(kind, values, {error["field"] for error in errors}, reading)
    if errors:
        raise Invalid.fields(errors)
    known = {field.name for field in table}
    ignored = tuple(sorted(_shown(name) for name in document if name not in known and name != "type"))
    return Body(kind, values, ignored)


def _shown(name: str) -> str:
    """A caller's field name as an answer can hold it: a lone surrogate, which JSON can carry, has no bytes in UTF-8."""
    return name[:100].encode("utf-8", "replace").decode()


def _together(kind: str, values: Mapping[str, Any], bad: set[str], reading: Reading) -> list[dict[str, str]]:
    """What fields must say together."""
    errors: list[dict[str, str]] = []
    if kind == "partner_event" and values.get("kind") == "rate_changed":
        for name in ("first_tier_percent", "second_tier_percent"):
            if name not in values and name not in bad:
                errors.append({"field": name, "message": "is required when kind is rate_changed"})
        if "until" in values and values["until"] <= values.get("occurred_at", reading.now_ms):
            errors.append({"field": "until", "message": "must be after occurred_at"})
    return errors
