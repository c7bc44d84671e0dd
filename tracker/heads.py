"""Request heads that were parsed before, so that the same bytes need no second parsing.

Many visitors' requests differ only in their first line, their cookies and where they come from: the rest of the head is
the browser's, word for word. What is remembered here was parsed as a whole by the server's HTTP parser; a head is known
again only by equal bytes, once its `Cookie` and `Referer` lines are taken out.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from tracker.remembered import Remembered

T = TypeVar("T")

REMEMBERED_HEADS = 2_000
# Browsers' heads are shorter; whoever sends longer ones could fill the memory.
REMEMBERED_HEAD_BYTES = 2048

_VERSION = b" HTTP/1.1\r\n"
_METHOD = b"GET "
_COOKIE, _REFERRER = b"\r\nCookie: ", b"\r\nReferer: "
_LINE_END, _END = b"\r\n", b"\r\n\r\n"
_PLAIN_VALUE = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


Request = tuple[bytes, bytes | None, bytes | None, T]
"""A GET as it was sent: its URL unread, cookie and referrer as the headers say them, and what is known of the rest of
the head. A bare tuple, for every click makes one."""


class Heads(Generic[T]):
    """What was made of heads, by their bytes."""

    def __init__(self, room: int = REMEMBERED_HEADS) -> None:
        self._known: Remembered[T] = Remembered(room)

    def read(self, data: bytes) -> Request[T] | None:
        """One whole GET with a known head; None for anything else, which is then for the parser.

        The URL is as it stands between method and version, and the cookie as it stands in its line: it is for the
        caller to know them, the cookie by `is_plain_value` at the least.
        """
        first, _, head = data.partition(_VERSION)
        known = self._known.get(head)
        cookie = referrer = None
        if known is None:
            cookie, referrer, head = _taken_apart(head)
            known = self._known.get(head)
            if known is None or (referrer is not None and not is_plain_value(referrer)):
                return None
        if first[:4] != _METHOD:
            return None
        return first[4:], cookie, referrer, known

    def learn(self, data: bytes, cookie: bytes | None, referrer: bytes | None, known: T) -> None:
        """Remember what was made of a head: `data` begins with a GET that was parsed, without a body, on a connection
        that stays. `cookie` and `referrer` are the values that the parser found; there must be no second ones."""
        head = data.partition(_VERSION)[2]
        # Nothing may follow that the parser took for something else.
        if head.find(_END) != len(head) - len(_END) or len(head) > 2 * REMEMBERED_HEAD_BYTES:
            return
        found_cookie, found_referrer, head = _taken_apart(head)
        if (found_cookie, found_referrer) == (cookie, referrer) and len(head) <= REMEMBERED_HEAD_BYTES:
            self._known.keep(head, known, ())

    def __len__(self) -> int:
        return len(self._known.keys())


def is_plain_value(value: bytes) -> bool:
    """Whether any parser reads a header's value as it stands."""
    return _PLAIN_VALUE.fullmatch(value) is not None


def _taken_apart(head: bytes) -> tuple[bytes | None, bytes | None, bytes]:
    """The first Cookie and Referer of a head, in the spelling of browsers, and the head without them."""
    cookie = referrer = None
    before, found, after = head.partition(_COOKIE)
    if found:
        cookie, found, after = after.partition(_LINE_END)
        head = before + found + after
    before, found, after = head.partition(_REFERRER)
    if found:
        referrer, found, after = after.partition(_LINE_END)
        head = before + found + after
    return cookie, referrer, head
