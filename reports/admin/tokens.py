"""Tokens as administrators make and list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.room import Room
from tracker.bodies import Reading, one_of, text
from tracker.errors import Invalid
from tracker.rfc3339 import rfc3339
from tracker.tokens import Token

MAX_LABEL_LENGTH = 100


def token_document(token: Token) -> dict[str, Any]:
    """A token without its secret, which is shown only when it is made."""
    document = {
        "id": token.id,
        "scope": token.scope,
        "label": token.label,
        "created_at": rfc3339(token.created_at),
    }
    return {**document, "partner_id": token.partner_id} if token.partner_id else document


def token_label(body: Mapping[str, Any], room: Room) -> str:
    """The label of `{"label"}`. Raises Invalid."""
    return _fields(body, room, ())[0]


def service_label_and_scope(body: Mapping[str, Any], room: Room, scopes: Sequence[str]) -> tuple[str, str]:
    """Label and scope of `{"label", "scope"}`. Raises Invalid that names every bad field."""
    label, scope = _fields(body, room, scopes)
    return label, scope


def _fields(body: Mapping[str, Any], room: Room, scopes: Sequence[str]) -> list[str]:
    reading = Reading(room.program, room.now_ms())
    readers = {"label": text(MAX_LABEL_LENGTH, least=1)} | ({"scope": one_of(*scopes)} if scopes else {})
    values: list[str] = []
    errors: list[dict[str, str]] = []
    for name, read in readers.items():
        try:
            if body.get(name) is None:
                raise ValueError("is required")
            values.append(read(body[name], reading))
        except ValueError as error:
            errors.append({"field": name, "message": str(error)})
    if errors:
        raise Invalid.fields(errors)
    return values
