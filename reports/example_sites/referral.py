"""Who sent this visitor, as far as this site knows.

Mostly linker.js says so, in the hidden fields `lt_visitor` and `lt_partner` of a form. Where a browser runs no
JavaScript it is the site's server that remembers what the visitor arrived with: the raw stamp `lt` and the Partner ID
`a`, in cookies of its own. And where a browser soon forgets what scripts keep, as Safari does, the server keeps
linker.js's two cookies for it, by sending them back.

Whatever a visitor sends may be forged or broken. What cannot be right is dropped here, for nobody's signup may fail
because of it; whether a stamp is genuine is for Lasttouch to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

STAMP_COOKIE, PARTNER_COOKIE = "site_lt", "site_a"
STAMP_SECONDS = 24 * 3600  # how long a stamp is good for
WINDOW_SECONDS = 120 * 24 * 3600  # the program's window

_VISITOR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARTNER_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STAMP = re.compile(r"[A-Za-z0-9_-]{1,512}")


@dataclass(frozen=True, slots=True)
class Referral:
    """What a call of the Conversions API says about a visitor; each is empty where it is not known."""

    visitor_id: str = ""
    stamp: str = ""
    partner_id: str = ""

    def fields(self, partner_field: str) -> dict[str, str]:
        """The fields of a body. `partner_field` is `partner_id` in a signup, and `recruiter_id` in a join."""
        said = {"visitor_id": self.visitor_id, "lt": "" if self.visitor_id else self.stamp}
        said[partner_field] = self.partner_id
        return {name: value for name, value in said.items() if value}


def read_referral(form: Mapping[str, str], cookies: Mapping[str, str]) -> Referral:
    """The referral of a posted form: linker.js's fields, else our own cookies."""
    return Referral(
        visitor_id=_clean(_VISITOR_ID, form.get("lt_visitor", "")),
        stamp=_clean(_STAMP, cookies.get(STAMP_COOKIE, "")),
        partner_id=_clean(_PARTNER_ID, form.get("lt_partner", ""))
        or _clean(_PARTNER_ID, cookies.get(PARTNER_COOKIE, "")),
    )


def cookies_to_keep(query: Mapping[str, str], headers: Mapping[str, str], cookies: Mapping[str, str]) -> list[str]:
    """The `Set-Cookie` headers of a page: what a visitor lands with (the last partner's link wins), and what linker.js
    kept before, which it has to read and so is not HttpOnly.

    None for a visitor who asked not to be followed. A site that is served over https adds `Secure`.
    """
    if headers.get("sec-gpc") == "1" or headers.get("dnt") == "1":
        return []
    kept = (
        (STAMP_COOKIE, _clean(_STAMP, query.get("lt", "")), STAMP_SECONDS, "; HttpOnly"),
        (PARTNER_COOKIE, _clean(_PARTNER_ID, query.get("a", "")), WINDOW_SECONDS, "; HttpOnly"),
        ("lt_visitor", _clean(_VISITOR_ID, cookies.get("lt_visitor", "")), WINDOW_SECONDS, ""),
        ("lt_partner", _clean(_PARTNER_ID, cookies.get("lt_partner", "")), WINDOW_SECONDS, ""),
    )
    return [
        f"{name}={value}; Max-Age={seconds}; Path=/; SameSite=Lax{more}" for name, value, seconds, more in kept if value
    ]


def _clean(allowed: re.Pattern[str], value: str) -> str:
    return value if allowed.fullmatch(value) else ""
