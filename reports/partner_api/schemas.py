"""Checks values against the contract's schemas (JSON Schema 2020-12), in words that say how to mend them.

Stricter than JSON Schema where that is loose: 14.0 is no integer, `$` ends a text and not a line, a digit of a pattern
is 0 to 9, blanks around a text do not make it longer, and the formats email, uri and uuid are checked.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from reports.partner_api.contract import CONTRACT, resolved
from tracker.bodies import email as read_email

MAX_ERRORS = 100  # of one request; nobody reads more
MAX_URI = 2048

FieldError = dict[str, str]
"""`{"field", "message"}` as an answer shows it."""

_formats = FormatChecker(formats=())


@_formats.checks("email", raises=ValueError)
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or bool(read_email(value, None))  # type: ignore[arg-type]  # it needs no program


@_formats.checks("uri", raises=ValueError)
def _is_web_address(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError for one that is none
    is_plain = value.isascii() and value.isprintable() and " " not in value and len(value) <= MAX_URI
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname)


@_formats.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(uuid.UUID(value)) == value.lower()


@cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\$$", r"\\Z", pattern), re.ASCII)


def _matches(validator: Validator, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _whole(pattern).search(value):
        yield ValidationError(f"must match {pattern}")


def _has_enough(validator: Validator, least: int, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and len(value.strip()) < least:
        yield ValidationError("too short")


_types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _matches, "minLength": _has_enough}, type_checker=_types
)

_FORMATS = {
    "email": "must be an e-mail address such as jane@example.com",
    "uri": "must be an absolute http or https address",
    "uuid": "must be a UUID",
}
_KINDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip


def schema_errors(schema: Mapping[str, Any], value: Any, field: str = "") -> list[FieldError]:
    """What is wrong with a value, every bad field named; `field` is its own name. Empty where it is right."""
    validator = _Validator(
        {"components": CONTRACT["components"], **_as_schema(schema)}, format_checker=_formats
    )  # local references lead into `components`
    found: dict[str, str] = {}
    for error in validator.iter_errors(value):
        for name, message in _explained(error):
            path = ".".join(part for part in (field, *map(str, error.absolute_path), name) if part)
            found.setdefault(path or "body", message)
            if len(found) >= MAX_ERRORS:
                break
    errors = [{"field": name, "message": message} for name, message in found.items()]
    known = {error["field"] for error in errors}
    return errors + [one for one in _unreadable(value, field) if one["field"] not in known]


def _as_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"allOf": [{"$ref": schema["$ref"]}]} if "$ref" in schema else schema


def _explained(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Field and message of one error; more for `required`, which names a field that is not there."""
    wanted: Any = error.validator_value
    match error.validator:
        case "required":
            yield from (
                (name, "is required") for name in wanted if name not in cast("Mapping[str, Any]", error.instance)
            )
        case "not" if isinstance(wanted, Mapping):
            yield from ((name, "is not possible with the other fields") for name in wanted.get("required", [""]))
        case _:
            yield "", _message(str(error.validator), wanted, error.message)


def _message(rule: str, wanted: Any, otherwise: str) -> str:
    match rule:
        case "type":
            kinds: Sequence[str] = [wanted] if isinstance(wanted, str) else wanted
            return f"must be {' or '.join(_KINDS[kind] for kind in kinds)}"
        case "enum":
            return f"must be one of {', '.join(str(word) or 'nothing' for word in wanted)}"
        case "format":
            return _FORMATS[wanted]
        case _:
            return _LIMITS[rule].format(wanted) if rule in _LIMITS else otherwise


_LIMITS = {
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
}


def _unreadable(value: Any, field: str) -> Iterator[FieldError]:
    """Texts that no store takes as they are: JSON can carry halves of characters, and control characters."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name.isprintable():
                yield from _unreadable(one, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _unreadable(one, f"{field}.{number}" if field else str(number))
    elif isinstance(value, str) and any(
        ord(char) < 32 or ord(char) == 127 or "\ud800" <= char <= "\udfff" for char in value
    ):
        yield {"field": field, "message": "must not hold control characters or broken Unicode"}


def from_text(schema: Mapping[str, Any], text: str) -> Any:
    """The value of a parameter or a form's field, read as the type that its schema declares.

    What cannot be read so stays text, and the schema says what is wrong with it.
    """
    kind = resolved(schema).get("type")
    read: Callable[[str], Any] | None = _READERS.get(kind) if isinstance(kind, str) else None
    return read(text) if read else text


def _integer(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "integer": _integer,
    "boolean": lambda text: {"true": True, "false": False}.get(text, text),
}


def form_document(schema: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A form's fields as the object that the schema describes; of a field that comes twice, the last."""
    properties = resolved(schema).get("properties", {})
    return {name: from_text(properties.get(name, {}), value) for name, value in pairs}
