"""The partner program's site: people join, and get their links."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from reports.example_sites.pages import Form, Sites, Wrong, email, now, render, text
from reports.example_sites.referral import read_referral

_LETTERS = string.ascii_letters + string.digits


def join(sites: Sites, form: Form, _: Mapping[str, str]) -> str:
    """Somebody becomes a partner. The Partner ID is ours, so that telling it twice is one join."""
    partner_id = f"E-{''.join(secrets.choice(_LETTERS) for _ in range(7))}"
    body = {
        "partner_id": partner_id,
        "email": email(form),
        "name": text(form, "name", 200),
        "joined_at": now(),
        **read_referral(form.fields, form.cookies).fields("recruiter_id"),
    }
    # The page to go on to is not named by the Partner ID, for everybody who sees a link knows that.
    key = secrets.token_urlsafe(12)
    call = sites.outbox.tell("/v1/partners", partner_id, key, body)
    if call.told == "refused":
        fields = call.answer["fields"]
        raise Wrong("Somebody has joined with this e-mail already." if "email" in fields else call.answer["why"])
    return f"/welcome/{key}/"


def welcome(sites: Sites, request: Request) -> Response:
    """The new partner's links, as soon as Lasttouch has answered."""
    calls = sites.outbox.about(request.path_params["key"])
    if not calls:
        return render(sites, request, "not_found.html", 404)
    return render(sites, request, "welcome.html", call=calls[0], calls=calls)
