"""Visitors: the `lt_vid` cookie, the `lt` stamp, and who asked not to be followed.

The stamp hands a visitor's id from the tracker to a site. It is 33 bytes in URL-safe base 64, 44 characters:

    version (1) · visitor id (16) · expiry, seconds since 1970 (4) · 12 bytes of keyed BLAKE2b (RFC 7693)

The MAC is keyed with the program's secret, so that nobody can make a stamp for a visitor of their choice. Version 1 is
made by redirects, version 2 for the links of a site (`POST /touch`): linker.js believes them on different grounds.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import struct
from functools import lru_cache
from hashlib import blake2b

from tracker.ids import NIL_UUID, is_uuid
from tracker.program import Program

COOKIE = "lt_vid"
OPT_OUT_COOKIE = "lt_optout"
STAMP_HOURS = 24
# A browser sends at most a few kilobytes of cookies; what is longer is not read.
MAX_COOKIE_HEADER = 16_384

OF_REDIRECT = 1
OF_LINK = 2
_MAC_BYTES = 12
_BODY = struct.Struct(">B16sI")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# Our cookie as browsers send it.
_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_USUAL_COOKIE = re.compile(rf"(?:\A|; ){COOKIE}=({_ID})(?=;|\Z)")
_LONE_COOKIE = re.compile(f"{COOKIE}=({_ID})".encode())
_STAMP = re.compile(r"[A-Za-z0-9_-]{44}", re.ASCII)


def cookie_visitor(cookie_header: str) -> str | None:
    """The visitor id in a `Cookie` header: the first `lt_vid` that is a canonical UUID, else None."""
    if COOKIE not in cookie_header:
        return None
    usual = _USUAL_COOKIE.search(cookie_header, 0, MAX_COOKIE_HEADER)
    if usual is not None and cookie_header.count(COOKIE) == 1 and usual[1] != NIL_UUID:
        return usual[1]
    for value in _cookie_values(cookie_header, COOKIE):
        if is_uuid(value):
            return value
    return None


def lone_cookie_visitor(raw: bytes) -> str | None:
    """The visitor id in a `Cookie` header, as it was sent, that holds nothing else, as on the tracker's own host; None
    for any other header."""
    lone = _LONE_COOKIE.fullmatch(raw)
    visitor_id = lone[1].decode() if lone is not None else None
    return None if visitor_id == NIL_UUID else visitor_id


def visitor_cookie(visitor_id: str, program: Program, is_https: bool) -> str:
    """The `Set-Cookie` header that keeps a visitor's id for the program's window."""
    secure = "; Secure" if is_https else ""
    max_age_seconds = program.window_ms // 1000
    return f"{COOKIE}={visitor_id}; Max-Age={max_age_seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"


def make_stamp(secret: bytes, visitor_id: str, now_ms: int, version: int = OF_REDIRECT) -> str:
    """A stamp for a visitor (a UUID's canonical text), valid for STAMP_HOURS from `now_ms`."""
    return StampMaker(secret, version)(visitor_id, now_ms)


class StampMaker:
    """Makes many stamps with one secret: `make(visitor_id, now_ms)`."""

    def __init__(self, secret: bytes, version: int = OF_REDIRECT) -> None:
        self._mac = _keyed(secret)
        self._version = bytes([version])
        self._second = -1
        self._expiry = b""

    def __call__(self, visitor_id: str, now_ms: int) -> str:
        if now_ms // 1000 != self._second:
            self._second = now_ms // 1000
            self._expiry = (self._second + STAMP_HOURS * 3600).to_bytes(4, "big")
        body = self._version + bytes.fromhex(visitor_id.replace("-", "")) + self._expiry
        mac = self._mac.copy()  # taking the key in anew would cost as much as the rest of a stamp
        mac.update(body)
        return binascii.b2a_base64(body + mac.digest(), newline=False).translate(_URL_SAFE).decode("ascii")


def read_stamp(secret: bytes, text: str, now_ms: int) -> str | None:
    """The visitor id in a stamp. None when it is broken, forged or expired; never an exception."""
    if _STAMP.fullmatch(text) is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(text)
    except (ValueError, binascii.Error):
        return None
    body, mac = raw[: _BODY.size], raw[_BODY.size :]
    if not hmac.compare_digest(mac, _mac(secret, body)):
        return None
    version, visitor, expires_s = _BODY.unpack(body)
    if version not in (OF_REDIRECT, OF_LINK) or expires_s * 1000 <= now_ms:
        return None
    digits: str = visitor.hex()
    visitor_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return visitor_id if is_uuid(visitor_id) else None


def is_of_link(stamp: str) -> bool:
    """Whether a genuine stamp came by a hyperlink, and not by a redirect."""
    return base64.urlsafe_b64decode(stamp)[0] == OF_LINK


def opted_out(headers: dict[str, str], program: Program) -> bool:
    """Whether the visitor asked not to be followed: Global Privacy Control, Do Not Track, or our own cookie.

    `headers` has lower-case names. The two signals count where the program honours them.
    """
    if program.honor_gpc and headers.get("sec-gpc") == "1":
        return True
    if program.honor_dnt and headers.get("dnt") == "1":
        return True
    cookies = headers.get("cookie", "")
    return OPT_OUT_COOKIE in cookies and "1" in _cookie_values(cookies, OPT_OUT_COOKIE)


def _cookie_values(cookie_header: str, name: str) -> list[str]:
    values = []
    for pair in cookie_header[:MAX_COOKIE_HEADER].split(";"):
        key, separator, value = pair.partition("=")
        if separator and key.strip() == name:
            values.append(value.strip().strip('"'))
    return values


def _mac(secret: bytes, body: bytes) -> bytes:
    state = _keyed(secret).copy()
    state.update(body)
    return state.digest()


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> blake2b:
    return blake2b(digest_size=_MAC_BYTES, key=secret, person=b"lasttouch lt")
