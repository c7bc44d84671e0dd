"""The contract: partner-api.yaml as the operations that are served. Requests are read by it, and it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
_METHODS = ("get", "post", "put", "delete")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path (always required) or a query. `schema` has its references resolved, one level deep."""

    name: str
    place: str
    required: bool
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `bodies` maps the content types that it takes to schemas; `status` is that of its success."""

    operation_id: str
    method: str
    path: str
    tag: str
    parameters: tuple[Parameter, ...]
    bodies: Mapping[str, Mapping[str, Any]]
    needs_body: bool
    status: int
    is_public: bool


def _load() -> dict[str, Any]:
    # The parser in C takes a tenth of the time, where the platform has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load((Path(__file__).parent / "partner-api.yaml").read_bytes(), Loader=loader)
    return document


CONTRACT = _load()
"""The document as it is in the file."""


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """`node`, or what its `$ref` within the contract leads to; what stands beside the reference wins."""
    if "$ref" not in node:
        return node
    found: Any = CONTRACT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**resolved(found), **{name: value for name, value in node.items() if name != "$ref"}}


def _operations() -> Iterator[Operation]:
    for path, item in CONTRACT["paths"].items():
        for method in _METHODS:
            if method in item:
                yield _operation(path, method, item[method], item.get("parameters", ()))


def _operation(path: str, method: str, entry: Mapping[str, Any], shared: Any) -> Operation:
    body = entry.get("requestBody", {})
    return Operation(
        operation_id=entry["operationId"],
        method=method.upper(),
        path=path,
        tag=entry["tags"][0],
        parameters=tuple(_parameter(resolved(one)) for one in (*shared, *entry.get("parameters", ()))),
        bodies={kind: content["schema"] for kind, content in body.get("content", {}).items()},
        needs_body=body.get("required", False),
        status=next(int(status) for status in entry["responses"] if status.startswith("2")),
        is_public=entry.get("security") == [],
    )


def _parameter(entry: Mapping[str, Any]) -> Parameter:
    return Parameter(entry["name"], entry["in"], entry.get("required", False), entry["schema"])


CONTRACT_OPERATIONS: Mapping[str, Operation] = {one.operation_id: one for one in _operations()}
"""Operation id → operation, in the contract's order."""
