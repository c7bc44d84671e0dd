"""The served OpenAPI document (3.1), made from the table of calls and the Partner API's contract, and its page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports import pages
from reports.access import signed_in
from reports.calls import CALLS, Call, Parameter
from reports.partner_api.contract import CONTRACT, resolved
from reports.partner_api.serving import served_paths
from reports.room import room_of

_PATH_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_PROBLEMS = {400: "A parameter is wrong; `errors` names it.", 401: "No token, or one that does not work.",
             403: "A token that may not do this.", 404: "There is no such thing, or it is not yours.",
             429: "The token has made all its calls of this minute; `Retry-After` says when to go on.",
             503: "A store does not answer; `Retry-After` says when to try again."}  # fmt: skip
_ABOUT = (
    "The operations tagged Status, Account, Affiliate Partner and Solution Partner are the Partner API; what is said "
    "below is about them. The others write times as RFC 3339 in UTC and money as integer cents."
)


def _version() -> str:
    try:
        return version("lasttouch")
    except PackageNotFoundError:
        return "0"  # run from a source tree that was not installed


def openapi_document(app_url: str) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        path = _PATH_PARAMETER.sub(r"{\1}", call.path)
        paths.setdefault(path, {})[call.method.lower()] = _operation(call)
    for path, operations in served_paths().items():
        for method, one in operations.items():
            responses = {**one["responses"], **_responses_beside()}
            security = one.get("security", [{"partnerToken": []}])
            paths.setdefault(path, {})[method] = {**one, "security": security, "responses": responses}
    components = CONTRACT["components"]
    token = {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that an administrator made, or the admin token.",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lasttouch app",
            "version": _version(),
            "description": f"{_ABOUT}\n\n{CONTRACT['info']['description']}",
        },
        "servers": [{"url": app_url}],
        "security": [{"token": []}],
        "tags": CONTRACT["tags"],
        "paths": paths,
        "components": {**components, "securitySchemes": {**components["securitySchemes"], "token": token}},
    }


def _responses_beside() -> dict[str, Any]:
    """What any operation of the Partner API may answer besides what its contract lists."""
    return {str(status): _problem(_PROBLEMS[status]) for status in (429, 503)}


def _operation(call: Call) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if kind == "int" else "string"}}
        for name, kind in _PATH_PARAMETER.findall(call.path)
    ]
    operation: dict[str, Any] = {
        "operationId": call.handler.__name__ if call.tag != "Partner" else f"partner_{call.handler.__name__}",
        "tags": [call.tag],
        "summary": call.summary,
        "description": f"Token: {' or '.join(call.scopes)}.",
        "parameters": [*in_path, *map(_query, call.parameters)],
        "responses": _responses(call),
    }
    if call.body:
        schema = {**_object(call.body), "required": list(call.body)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _query(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.most:
        schema = {"type": "integer", "minimum": 1, "maximum": parameter.most}
    return {"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema}


def _responses(call: Call) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if call.answer:
        schema = _object(call.answer)
        if call.is_list:
            schema = {"type": "object", "properties": {"items": {"type": "array", "items": schema}}}
            schema["properties"] |= _object(call.beside)["properties"]
            if any(parameter.name == "cursor" for parameter in call.parameters):
                schema["properties"]["next_cursor"] = {"type": ["string", "null"]}
        good["content"] = {"application/json": {"schema": schema}}
        if call.has_csv:
            good["content"]["text/csv"] = {"schema": {"type": "string"}}
    problems = dict(_PROBLEMS)
    if call.body:
        problems |= {409: "The label is in use.", 422: "A field is wrong; `errors` names it."}
    return {str(call.status): good, **{str(status): _problem(about) for status, about in sorted(problems.items())}}


def _problem(about: str) -> dict[str, Any]:
    reference = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": about, "content": reference}


def _object(fields: Mapping[str, str]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: _field(about) for name, about in fields.items()}}


def _field(about: str) -> dict[str, Any]:
    types: dict[str, Any] = {
        "number": {"type": "number"}, "text": {"type": "string"}, "list": {"type": "array"},
        "object": {"type": "object"},
    }  # fmt: skip
    if about.startswith("time"):
        return {"type": "string", "format": "date-time", "description": about}
    found: dict[str, Any] = next((schema for word, schema in types.items() if about.startswith(word)), {})
    if "null" in about and "type" in found:
        found = {"type": [found["type"], "null"]}
    return {**found, "description": about}


async def openapi(request: Request) -> Response:
    """`GET /openapi.json`."""
    return JSONResponse(openapi_document(room_of(request).settings.app_url))


async def docs(request: Request) -> Response:
    """`GET /docs`: the same for people."""
    room = room_of(request)
    request.state.viewer = await signed_in(room, request)
    document = openapi_document(room.settings.app_url)
    about = re.sub(r"\n +", " ", document["info"]["description"])
    return await pages.show(request, "docs.html", version=document["openapi"], about=about, groups=shown(document))


@dataclass(frozen=True, slots=True)
class Shown:
    """An operation as the page shows it. `parameters` are name, place, meaning and choices; `body` and the fields of
    `answers` (status, meaning, fields) are names and meanings."""

    operation_id: str
    method: str
    path: str
    about: str
    parameters: Sequence[tuple[str, str, str, str]]
    body: Sequence[tuple[str, str]]
    answers: Sequence[tuple[str, str, Sequence[tuple[str, str]]]]


def shown(document: Mapping[str, Any]) -> dict[str, list[Shown]]:
    """The operations by tag, references followed."""
    groups: dict[str, list[Shown]] = {}
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            groups.setdefault(one["tags"][0], []).append(_shown(method, path, one))
    return groups


def _shown(method: str, path: str, one: Mapping[str, Any]) -> Shown:
    parameters = [resolved(parameter) for parameter in one.get("parameters", ())]
    answers = {status: resolved(answer) for status, answer in one["responses"].items()}
    return Shown(
        operation_id=one["operationId"],
        method=method.upper(),
        path=path,
        about=f"{one['summary']} {one.get('description', '')}".strip(),
        parameters=[
            (
                item["name"],
                item["in"],
                item.get("description", ""),
                ", ".join(map(str, resolved(item["schema"]).get("enum", ()))),
            )
            for item in parameters
        ],
        body=list(_json_fields(one.get("requestBody", {}))),
        answers=[(status, answer["description"], list(_json_fields(answer))) for status, answer in answers.items()],
    )


def _choices(schema: Mapping[str, Any]) -> str:
    return ", ".join(map(str, resolved(schema).get("enum", ())))


def _json_fields(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and meanings of the fields of a JSON body: of a list's items, and of what stands beside it."""
    yield from _fields(entry.get("content", {}).get("application/json", {}).get("schema", {}))


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = resolved(schema)
    for part in found.get("allOf", ()):
        yield from _fields(part)
    for name, given in found.get("properties", {}).items():
        about = resolved(given)
        items = about.get("items")
        if name in ("items", "result", "results") and items:
            yield from _fields(items)
        else:
            yield name, " ".join((about.get("description") or _kind(about)).split())


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    return kind if isinstance(kind, str) else " or ".join(kind)
