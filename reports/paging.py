"""Paging by cursor: a page ends with a key of its last row, and the next one starts after it.

Rows are ordered newest first, so what is added meanwhile never moves a row onto another page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.periods import LATEST_MS
from tracker.errors import BadRequest

MAX_CURSOR_LENGTH = 400


@dataclass(frozen=True, slots=True)
class After:
    """Where a page starts: before this moment (ms), and at it before this key. The default is the top."""

    moment: int = LATEST_MS
    key: str = ""


TOP = After()


def read_cursor(text: str) -> After:
    """The place that a cursor names; the top for an empty one. Raises BadRequest for one that we did not make."""
    if not text:
        return TOP
    try:
        if len(text) > MAX_CURSOR_LENGTH:
            raise ValueError
        moment, key = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if type(moment) is not int or not 0 <= moment <= LATEST_MS or not isinstance(key, str):
            raise ValueError
        key.encode()
    except (ValueError, TypeError, RecursionError):
        message = "is not a cursor of ours; give next_cursor of the page before, or leave it out"
        raise BadRequest(f"cursor: {message}", [{"field": "cursor", "message": message}]) from None
    return After(moment, key)


def write_cursor(after: After) -> str:
    """`after` as opaque text that is safe in a URL."""
    document = json.dumps([after.moment, after.key], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def read_limit(text: str, most: int, default: int = 100) -> int:
    """How many rows a page has. Raises BadRequest unless it is a whole number from 1 to `most`."""
    if not text:
        return min(default, most)
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    message = f"must be a whole number from 1 to {most}"
    raise BadRequest(f"limit: {message}", [{"field": "limit", "message": message}])


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one page. `next_cursor` is None on the last page."""

    rows: list[dict[str, Any]]
    next_cursor: str | None


def cut_page(rows: list[dict[str, Any]], limit: int, moment: str, key: str) -> Page:
    """A page of `limit` rows from `limit + 1` that were read; `moment` and `key` name the ordering columns."""
    if len(rows) <= limit:
        return Page(rows, None)
    last: Mapping[str, Any] = rows[limit - 1]
    return Page(rows[:limit], write_cursor(After(last[moment], last[key])))
