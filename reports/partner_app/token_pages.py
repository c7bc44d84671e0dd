"""A partner's API tokens: made with a label, shown once, listed with their last use, and revoked at once."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from reports.access import Viewer, read_form
from reports.filters import read_query
from reports.partner_api.contract import CONTRACT_OPERATIONS, FORM
from reports.partner_api.schemas import form_document, schema_errors
from reports.partner_app.pages import show_subject, subject_of
from reports.room import Room
from tracker.errors import Conflict
from tracker.program import DAY_MS


async def tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    read_query(request, ())
    return await _page(room, viewer, request)


async def change_tokens(room: Room, viewer: Viewer, request: Request) -> Response:
    """`POST /partner/tokens`: makes a token, by the rules of the Partner API's own operation, or revokes the one in
    `revoke`."""
    form = {name: str(value).strip() for name, value in (await read_form(room, viewer, request)).items()}
    now_ms = room.now_ms()
    if revoked := form.get("revoke", ""):
        is_number = revoked.isascii() and revoked.isdigit() and len(revoked) < 16
        if is_number and await room.tokens.revoke("partner", int(revoked), now_ms, viewer.partner_id):
            return await _page(room, viewer, request, said="The token was revoked and does not work any more.")
        return await _page(room, viewer, request, 404, problem="There is no such token any more.")
    schema = CONTRACT_OPERATIONS["create_api_token"].bodies[FORM]
    asked = form_document(schema, [(name, value) for name, value in form.items() if value and name != "csrf"])
    label = form.get("label", "")
    if wrong := schema_errors(schema, asked):
        said = "; ".join(f"{one['field']}: {one['message']}" for one in wrong)
        return await _page(room, viewer, request, 400, problem=said, label=label)
    days = asked.get("expires_in_days", 0)
    expires_at = now_ms + days * DAY_MS if days else 0
    try:
        _, secret = await room.tokens.issue("partner", label, now_ms, viewer.partner_id, expires_at)
    except Conflict as problem:
        return await _page(room, viewer, request, problem.status, problem=problem.detail, label=label)
    return await _page(room, viewer, request, 201, said=f"The token “{label}” was made.", secret=secret)


async def _page(
    room: Room,
    viewer: Viewer,
    request: Request,
    status: int = 200,
    said: str = "",
    problem: str = "",
    secret: str = "",
    label: str = "",
) -> Response:
    return await show_subject(
        request,
        await subject_of(room, viewer, request),
        "partner/tokens.html",
        status,
        tokens=await room.tokens.list("partner", room.now_ms(), viewer.partner_id),
        said=said,
        problem=problem,
        secret=secret,
        label=label,
    )
