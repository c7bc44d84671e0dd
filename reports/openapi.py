"""The served OpenAPI document (3.1), made from the table of calls, and the page that shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reports import pages
from reports.access import signed_in
from reports.calls import CALLS, Call, Parameter
from reports.room import room_of

_PATH_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")
_PROBLEMS = {400: "A parameter is wrong; `errors` names it.", 401: "No token, or one that does not work.",
             403: "A token that may not do this.", 404: "There is no such thing, or it is not yours.",
             503: "A store does not answer; `Retry-After` says when to try again."}  # fmt: skip


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
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lasttouch app",
            "version": _version(),
            "description": "Commission lines, attributions and reports. Times are RFC 3339 in UTC, money is integer "
            "cents, errors are application/problem+json.",
        },
        "servers": [{"url": app_url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _object({"type": "text", "title": "text", "status": "number", "detail": "text",
                                            "errors": "list of {field, message}"})},
        },
    }  # fmt: skip


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
    reference = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    bad = {str(status): {"description": about, "content": reference} for status, about in sorted(problems.items())}
    return {str(call.status): good, **bad}


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
    return await pages.show(request, "docs.html", document=openapi_document(room.settings.app_url))
