"""Identifiers: made here, or checked when a caller made them. Randomness and the clock come in as arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

CALLER_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NIL_UUID = "00000000-0000-0000-0000-000000000000"

RandomBytes = Callable[[int], bytes]


def is_caller_id(text: str) -> bool:
    """Whether `text` may be an id that a caller chooses: 1–64 of `[A-Za-z0-9_.-]`."""
    return CALLER_ID.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID of any version in canonical lower-case text, other than the nil UUID."""
    return _UUID.fullmatch(text) is not None and text != NIL_UUID


def new_visitor_id(random_bytes: RandomBytes = os.urandom) -> str:
    """A random visitor id (UUID version 4)."""
    value = random_bytes(16)
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[value[8] & 3]}{text[17:20]}-{text[20:]}"


def new_time_ordered_id(now_ms: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A UUID version 7 (RFC 9562 §5.7): 48 bits of `now_ms`, then random bits. Texts sort by time."""
    value = now_ms.to_bytes(6, "big") + random_bytes(10)
    text = value.hex()
    variant = "89ab"[value[8] & 3]
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def new_code(length: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A random code of `length` characters of base 62, each equally likely."""
    code = ""
    while len(code) < length:
        code += "".join(_BASE62[byte % 62] for byte in random_bytes(length) if byte < 248)
    return code[:length]


def new_partner_id(random_bytes: RandomBytes = os.urandom) -> str:
    """A Partner ID such as `W-5ZzZyiR`: one letter, a dash, seven characters (62^7 of them)."""
    return f"{'ABCDEFGHJKLMNPQRSTUVWXYZ'[random_bytes(1)[0] % 24]}-{new_code(7, random_bytes)}"
