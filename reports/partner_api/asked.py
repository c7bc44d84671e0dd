"""A request to the Partner API, read by the contract: path, query and body are right when a handler gets it.

Everything wrong with a request is one 400 that names every bad field (`errors`), never a 422.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from reports.partner_api.contract import FORM, JSON, Operation, Parameter
from reports.partner_api.dates import MAX_BUCKETS, has_too_many, read_period
from reports.partner_api.schemas import FieldError, form_document, from_text, schema_errors
from reports.periods import ALL_TIME, Period
from reports.room import Room
from tracker.api import MAX_BODY_BYTES, read_limited
from tracker.bodies import parse_json
from tracker.errors import BadRequest, Invalid, TooLarge
from tracker.program import Program
from tracker.tokens import Token

ALL = "all"
"""As a product or program: every one."""

MAX_FORM_FIELDS = 200
MAX_FILTERS = 20
_LICENSED, _PARTNER_PROGRAM = "LicensedProductName", "partner_program"
_DATES = ("date_from", "date_to")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition that a record must meet."""

    field: str
    operator: str
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a partner asks: parameters of path and query by name, defaults filled in, and the body's fields.

    `period` is that of date_from and date_to, all of time without them; `filters` are those of the query.
    """

    token: Token
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]
    period: Period = ALL_TIME
    filters: tuple[Filter, ...] = ()

    @property
    def partner_id(self) -> str:
        """Who asks. Nothing but this partner's data may be in the answer."""
        return self.token.partner_id


Handler = Callable[[Room, Asked], Awaitable[Mapping[str, Any] | None]]
"""Answers the document, or None where the operation returns nothing; the contract says with which status."""


def bad_request(errors: Sequence[FieldError]) -> BadRequest:
    """The 400 that names every bad field."""
    return BadRequest("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)


def bad_field(field: str, message: str) -> BadRequest:
    """The 400 of one bad field."""
    return bad_request([{"field": field, "message": message}])


async def read_request(operation: Operation, program: Program, request: Request, token: Token) -> Asked:
    """The request of an operation. Raises BadRequest that names everything that is wrong with it."""
    errors: list[FieldError] = []
    path = _read_parameters(operation, "path", request.path_params, program, errors)
    query = _read_parameters(operation, "query", request.query_params, program, errors)
    period = _read_period(query, errors)
    filters = _read_filters(query, errors)
    body = await _read_body(operation, request, errors)
    if errors:
        raise bad_request(errors)
    return Asked(token, path, query, body, period, filters)


def _read_parameters(
    operation: Operation, place: str, given: Mapping[str, str], program: Program, errors: list[FieldError]
) -> dict[str, Any]:
    """The declared parameters of one place; others are ignored."""
    values: dict[str, Any] = {}
    for parameter in operation.parameters:
        if parameter.place != place:
            continue
        if parameter.name not in given:
            if parameter.required:
                errors.append({"field": parameter.name, "message": "is required"})
            elif "default" in parameter.schema:
                values[parameter.name] = parameter.schema["default"]
            continue
        value = from_text(parameter.schema, given[parameter.name])
        wrong = schema_errors(parameter.schema, value, parameter.name) or _unknown_product(parameter, value, program)
        if wrong and parameter.name not in _DATES:  # read_period says it better
            errors += wrong
        values[parameter.name] = value
    return values


def _unknown_product(parameter: Parameter, value: str, program: Program) -> list[FieldError]:
    if parameter.name != "product":
        return []
    known = [name for name in program.products if not _is_licensed(parameter) or name != _PARTNER_PROGRAM]
    if parameter.schema.get("default") == ALL:
        known = [ALL, *known]
    return [] if value in known else [{"field": "product", "message": f"must be one of {', '.join(known)}"}]


def _is_licensed(parameter: Parameter) -> bool:
    return str(parameter.schema.get("$ref", "")).endswith(_LICENSED)


def _read_period(query: Mapping[str, Any], errors: list[FieldError]) -> Period:
    period, wrong = read_period(query.get("date_from"), query.get("date_to"))
    aggregation = query.get("aggregation")
    if not wrong and aggregation in ("day", "week", "month") and has_too_many(period, aggregation):
        wrong = [{"field": "date_from", "message": f"a report has at most {MAX_BUCKETS} buckets; ask for fewer"}]
    errors += wrong
    return period


def _read_filters(query: dict[str, Any], errors: list[FieldError]) -> tuple[Filter, ...]:
    if "filters" not in query:
        return ()
    try:
        found = json.loads(query["filters"])
        if not isinstance(found, list) or len(found) > MAX_FILTERS:
            raise ValueError
    except (ValueError, RecursionError):
        errors.append({"field": "filters", "message": f"must be a JSON list of at most {MAX_FILTERS} filters"})
        return ()
    wrong = schema_errors({"items": {"$ref": "#/components/schemas/Filter"}}, found, "filters")
    errors += wrong
    return () if wrong else tuple(Filter(one["field"], one["operator"], one["value"]) for one in found)


def equals_filters(asked: Asked, choices: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The filters of a request where fields can only equal one of `choices`: field → value.

    Two conditions on a field that no record can meet both are field → an empty text. Raises BadRequest for any other
    field, operator or value.
    """
    errors: list[FieldError] = []
    wanted: dict[str, str] = {}
    for number, one in enumerate(asked.filters):
        if one.field not in choices:
            errors.append({"field": f"filters.{number}.field", "message": f"must be one of {', '.join(choices)}"})
        elif one.operator != "equals":
            errors.append({"field": f"filters.{number}.operator", "message": "must be equals"})
        elif one.value not in choices[one.field]:
            known = ", ".join(choices[one.field])
            errors.append({"field": f"filters.{number}.value", "message": f"must be one of {known}"})
        else:
            value = str(one.value)
            wanted[one.field] = value if wanted.get(one.field, value) == value else ""
    if errors:
        raise bad_request(errors)
    return wanted


async def _read_body(operation: Operation, request: Request, errors: list[FieldError]) -> Mapping[str, Any]:
    if not operation.bodies:
        return {}
    try:
        raw = await read_limited(request, MAX_BODY_BYTES)
    except TooLarge as error:
        raise bad_field("body", error.detail) from None
    if not raw and not operation.needs_body:
        return {}
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in operation.bodies:
        errors.append({"field": "body", "message": f"must be {' or '.join(operation.bodies)}"})
        return {}
    schema = operation.bodies[kind]
    try:
        document = form_document(schema, _form_pairs(raw)) if kind == FORM else parse_json(raw)
    except Invalid as error:
        errors.append({"field": "body", "message": error.detail})
        return {}
    wrong = schema_errors(schema, document)
    errors += wrong
    return document if not wrong else {}


def _form_pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the form is not UTF-8") from None
    except ValueError:
        raise Invalid(f"the form has more than {MAX_FORM_FIELDS} fields") from None
