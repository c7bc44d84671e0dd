"""Identifiers: made here, or checked when a caller made them. Randomness and the clock come in as arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

CALLER_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NIL_UUID = "00000000-0000-0000-0000-000000000000"

# The digit that says "RFC 9562", with two random bits (§4.1), for a random digit.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

RandomBytes = Callable[[int], bytes]
POOLED_BYTES = 8192


def is_caller_id(text: str) -> bool:
    """Whether `text` may be an id that a caller chooses: 1–64 of `[A-Za-z0-9_.-]`."""
    return CALLER_ID.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID of any version in canonical lower-case text, other than the nil UUID."""
    return _UUID.fullmatch(text) is not None and text != NIL_UUID


def new_visitor_id(random_bytes: RandomBytes = os.urandom) -> str:
    """A random visitor id (UUID version 4, RFC 9562 §5.4)."""
    return visitor_id_of(random_bytes(16).hex())


def new_time_ordered_id(now_ms: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A UUID version 7 (RFC 9562 §5.7): 48 bits of `now_ms`, then random bits. Texts sort by time."""
    return time_ordered_id_of(now_ms, random_bytes(10).hex())


def visitor_id_of(text: str) -> str:
    """The visitor id of 32 random hex digits."""
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


def time_ordered_id_of(now_ms: int, text: str) -> str:
    """The time-ordered id of a moment and 20 random hex digits."""
    time = f"{now_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7{text[1:4]}-{_VARIANTS[text[4]]}{text[5:8]}-{text[8:20]}"


class IdMaker:
    """Makes many ids: random bytes are asked of the system in blocks, for a call costs more than what it gives."""

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._digits = ""
        self._at = 0
        self._ms = -1
        self._time = ""

    def visitor(self) -> str:
        """A visitor id, as new_visitor_id makes them."""
        return visitor_id_of(self._take(32))

    def click(self, now_ms: int) -> str:
        """A time-ordered id, as new_time_ordered_id makes them."""
        if now_ms != self._ms:
            time = f"{now_ms:012x}"
            self._ms, self._time = now_ms, f"{time[:8]}-{time[8:]}-7"
        text = self._take(20)
        return f"{self._time}{text[1:4]}-{_VARIANTS[text[4]]}{text[5:8]}-{text[8:]}"

    def _take(self, count: int) -> str:
        """The next random hex digits; none is given twice."""
        at = self._at
        end = at + count
        if end > len(self._digits):
            self._digits, at, end = self._random_bytes(POOLED_BYTES).hex(), 0, count
        self._at = end
        return self._digits[at:end]


def new_code(length: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A random code of `length` characters of base 62, each equally likely."""
    code = ""
    while len(code) < length:
        code += "".join(_BASE62[byte % 62] for byte in random_bytes(length) if byte < 248)
    return code[:length]


def new_partner_id(random_bytes: RandomBytes = os.urandom) -> str:
    """A Partner ID such as `W-5ZzZyiR`: one letter, a dash, seven characters (62^7 of them)."""
    return f"{'ABCDEFGHJKLMNPQRSTUVWXYZ'[random_bytes(1)[0] % 24]}-{new_code(7, random_bytes)}"
