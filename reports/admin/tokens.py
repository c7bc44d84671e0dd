"""Tokens as administrators make and list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.room import Room
from tracker.bodies import Reading, any_moment, one_of, text
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
        "expires_at": rfc3339(token.expires_at) if token.expires_at else None,
        "last_used_at": rfc3339(token.last_used_at) if token.last_used_at else None,
    }
    return {**document, "partner_id": token.partner_id} if token.partner_id else document


def token_label(body: Mapping[str, Any], room: Room) -> str:
    """The label of `{"label"}`. Raises Invalid."""
    return _fields(body, room, ())[0]


def token_end(body: Mapping[str, Any], room: Room) -> int:
    """When the token of `{"expires_at"}` stops working, in ms; 0 for never. Raises Invalid."""
    if body.get("expires_at") is None:
        return 0
    try:
        at: int = any_moment(body["expires_at"], Reading(room.program, room.now_ms()))
        if at <= room.now_ms():
            raise ValueError("must be in the future")
    except ValueError as error:
        raise Invalid.fields([{"field": "expires_at", "message": str(error)}]) from None
    return at


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
