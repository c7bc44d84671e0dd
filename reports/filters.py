"""Query values: read by name, so that a mistyped filter is refused rather than silently ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from tracker.errors import BadRequest

MAX_VALUE_LENGTH = 400


def read_query(request: Request, known: Sequence[str]) -> Mapping[str, str]:
    """The values of the known names, trimmed; empty for those not given. Raises BadRequest for any other name."""
    errors = [
        {"field": name, "message": f"is not a parameter of this call; known are {', '.join(known)}"}
        for name in request.query_params
        if name not in known
    ]
    values = {name: request.query_params.get(name, "").strip() for name in known}
    for name, value in values.items():
        if len(value) > MAX_VALUE_LENGTH or any(ord(char) < 32 for char in value):
            errors.append({"field": name, "message": f"must be plain text of at most {MAX_VALUE_LENGTH} characters"})
    if errors:
        raise BadRequest("; ".join(f"{error['field']}: {error['message']}" for error in errors), errors)
    return values


def read_link(request: Request) -> str:
    """The value of `link`, as it was pasted, of any length. Raises BadRequest without one, and for any other name."""
    if set(request.query_params) - {"link"}:
        read_query(request, ("link",))
    link = request.query_params.get("link", "")
    if not link.strip():
        raise BadRequest("link: is required", [{"field": "link", "message": "is required"}])
    return link


def one_of(field: str, value: str, words: Sequence[str]) -> str:
    """`value` if it is one of the words, the first of them when it is empty. Raises BadRequest otherwise."""
    if not value:
        return words[0]
    if value in words:
        return value
    message = f"must be one of {', '.join(words)}"
    raise BadRequest(f"{field}: {message}", [{"field": field, "message": message}])
