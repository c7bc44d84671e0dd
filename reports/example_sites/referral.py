"""Who sent this visitor, as far as this site knows.

Mostly linker.js says so, in the hidden fields `lt_visitor` and `lt_partner` of a form. Where a browser runs no
JavaScript it is the site's server that remembers what the visitor arrived with: the raw stamp `lt` and the Partner ID
`a`, in cookies of its own. As Safari soon forgets what scripts keep, the server sets linker.js's two cookies as well.

Whatever a visitor sends may be forged or broken. What cannot be right is dropped here, for nobody's signup may fail
because of it; whether a stamp is genuine is for Lasttouch to say.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

STAMP_COOKIE, PARTNER_COOKIE = "site_lt", "site_a"
VISITOR_COOKIE = "lt_visitor"
OF_REDIRECT = 1  # the first byte of a stamp that a redirect gave
STAMP_SECONDS = 24 * 3600  # how long a stamp is good for
WINDOW_SECONDS = 120 * 24 * 3600  # the program's window

_VISITOR_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARTNER_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STAMP = re.compile(r"[A-Za-z0-9_-]{44}")


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
    """The referral of a posted form: linker.js's fields, else our own cookies, the surest first."""
    stamp = _clean(_STAMP, cookies.get(STAMP_COOKIE, ""))
    kept = "" if stamp else _clean(_VISITOR_ID, cookies.get(VISITOR_COOKIE, ""))
    partners = (form.get("lt_partner", ""), cookies.get("lt_partner", ""), cookies.get(PARTNER_COOKIE, ""))
    return Referral(
        visitor_id=_clean(_VISITOR_ID, form.get("lt_visitor", "")) or kept,
        stamp=stamp,
        partner_id=next(filter(None, (_clean(_PARTNER_ID, one) for one in partners)), ""),
    )


def cookies_to_keep(query: Mapping[str, str], headers: Mapping[str, str], cookies: Mapping[str, str]) -> list[str]:
    """The `Set-Cookie` headers of a page that a visitor lands on: the last partner's link wins.

    None for a visitor who asked not to be followed. A site that is served over https adds `Secure`.
    """
    if headers.get("sec-gpc") == "1" or headers.get("dnt") == "1":
        return []
    stamp, partner_id = _clean(_STAMP, query.get("lt", "")), _clean(_PARTNER_ID, query.get("a", ""))
    visitor_id = visitor_to_keep(stamp, cookies) if partner_id else ""
    kept = (
        (STAMP_COOKIE, stamp, STAMP_SECONDS, "; HttpOnly"),
        (PARTNER_COOKIE, partner_id, WINDOW_SECONDS, "; HttpOnly"),
        (VISITOR_COOKIE, visitor_id, WINDOW_SECONDS, ""),  # linker.js reads these two
        ("lt_partner", partner_id if visitor_id else "", WINDOW_SECONDS, ""),
    )
    return [
        f"{name}={value}; Max-Age={seconds}; Path=/; SameSite=Lax{more}" for name, value, seconds, more in kept if value
    ]


def visitor_to_keep(stamp: str, cookies: Mapping[str, str]) -> str:
    """The visitor that a stamp names (docs/linker.md), or empty. Which of two visitors a browser is, when a hyperlink's
    stamp names another one than it was before, the script finds out."""
    if not stamp:
        return ""
    raw = base64.urlsafe_b64decode(stamp)
    if raw[0] != OF_REDIRECT and VISITOR_COOKIE in cookies:
        return ""
    return _clean(_VISITOR_ID, str(uuid.UUID(bytes=raw[1:17])))


def _clean(allowed: re.Pattern[str], value: str) -> str:
    return value if allowed.fullmatch(value) else ""
