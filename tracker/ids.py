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
_VARIANT = bytes.maketrans(*(text.encode() for text in ("".join(_VARIANTS), "".join(_VARIANTS.values()))))

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
    """Makes many ids: they are laid out a block at a time, for that costs a fraction of making each."""

    def __init__(self, random_bytes: RandomBytes = os.urandom) -> None:
        self._visitors = _Pool("xxxxxxxx-xxxx-4xxx-vxxx-xxxxxxxxxxxx", random_bytes)
        self._clicks = _Pool("xxx-vxxx-xxxxxxxxxxxx", random_bytes)
        self._ms = -1
        self._time = ""

    def visitor(self) -> str:
        """A visitor id, as new_visitor_id makes them."""
        return self._visitors.take()

    def click(self, now_ms: int) -> str:
        """A time-ordered id, as new_time_ordered_id makes them."""
        if now_ms != self._ms:
            time = f"{now_ms:012x}"
            self._ms, self._time = now_ms, f"{time[:8]}-{time[8:]}-7"
        return self._time + self._clicks.take()


class _Pool:
    """Random texts of one form: `x` stands for a random hex digit, `v` for the one that says "RFC 9562", and anything
    else for itself."""

    def __init__(self, form: str, random_bytes: RandomBytes) -> None:
        self._form = form
        self._random_bytes = random_bytes
        self._texts = ""
        self._at = 0

    def take(self) -> str:
        """A text; none is given twice."""
        at = self._at
        self._at = end = at + len(self._form)
        if end > len(self._texts):
            self._texts = self._lay_out(self._random_bytes(POOLED_BYTES).hex().encode())
            at, self._at = 0, len(self._form)
            end = self._at
        return self._texts[at:end]

    def _lay_out(self, digits: bytes) -> str:
        """As many texts as there are digits for: the digits of one place of all texts at a time."""
        places = [place for place, mark in enumerate(self._form) if mark in "xv"]
        count = len(digits) // len(places)
        texts = bytearray(self._form.encode() * count)
        for first, place in enumerate(places):
            column = digits[first : count * len(places) : len(places)]
            texts[place :: len(self._form)] = column.translate(_VARIANT) if self._form[place] == "v" else column
        return texts.decode()


def new_code(length: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A random code of `length` characters of base 62, each equally likely."""
    code = ""
    while len(code) < length:
        code += "".join(_BASE62[byte % 62] for byte in random_bytes(length) if byte < 248)
    return code[:length]


def new_partner_id(random_bytes: RandomBytes = os.urandom) -> str:
    """A Partner ID such as `W-5ZzZyiR`: one letter, a dash, seven characters (62^7 of them)."""
    return f"{'ABCDEFGHJKLMNPQRSTUVWXYZ'[random_bytes(1)[0] % 24]}-{new_code(7, random_bytes)}"
