"""Directory entries as a tracker remembers them: one short line each, without anything that redirects do not need.

    link      partner_id ⇥ product ⇥ campaign ⇥ landing_url
    partner   joined_at ⇥ changes, as JSON; nothing where there are none

Nobody's name, e-mail or hash of one is among it, so that neither is in a worker's memory or its snapshot (R20).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from tracker.events import tsv_fields
from tracker.ids import is_caller_id
from tracker.standing import Change, Standing, standing

_ESCAPED = re.compile(r"\\(.)")
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
_DECODER = json.JSONDecoder()
log = logging.getLogger(__name__)


class Link(NamedTuple):
    """Where a short code leads. `landing_url` may be empty: the product's home page."""

    partner_id: str
    product: str
    campaign: str
    landing_url: str


# The short way to make one, for where many links are followed each is read anew.
_link: Callable[[Sequence[str]], Link] = partial(tuple.__new__, Link)


def link_line(code: str, value: bytes) -> bytes | None:
    """The line of a link's directory entry (see redis_keys.LINKS); None, and a line in the log, when it has faults."""
    try:
        entry = _entry(value)
        partner_id = entry["partner_id"]
        if not is_caller_id(code) or not is_caller_id(partner_id):
            raise ValueError("ids have 1–64 characters of A–Z a–z 0–9 _ . -")
        fields = (partner_id, entry["product"], entry.get("campaign") or "", entry.get("landing_url") or "")
        return _line(tsv_fields(fields))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("the directory's entry of link %r cannot be read: %r", code, error)
        return None


def link_of(line: bytes) -> Link:
    """A link from its line."""
    text = _text(line)
    fields = text.split("\t")
    if "\\" in text:
        fields = [_ESCAPED.sub(lambda found: _UNESCAPED[found[1]], field) for field in fields]
    return _link(fields)


def partner_line(partner_id: str, value: bytes) -> bytes | None:
    """The line of a partner's directory entry (see redis_keys.PARTNERS); None, and a line in the log, for faults."""
    try:
        entry = _entry(value)
        if not is_caller_id(partner_id):
            raise ValueError("ids have 1–64 characters of A–Z a–z 0–9 _ . -")
        rows = [[int(at), str(event_id), str(kind)] for at, event_id, kind in entry.get("changes") or ()]
        return _line(f"{int(entry['joined_at'])}\t{json.dumps(rows, separators=(',', ':')) if rows else ''}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("the directory's entry of partner %r cannot be read: %r", partner_id, error)
        return None


def standing_of(partner_id: str, line: bytes) -> Standing:
    """A partner's standing from their line, without what the line does not have: the hash of the e-mail, and rates."""
    joined_at, _, changes = _text(line).partition("\t")
    return standing(partner_id, int(joined_at), "", (Change(*row) for row in json.loads(changes)) if changes else ())


def is_active(line: bytes, moment: int) -> bool:
    """Whether a partner's line alone says that they are active at a moment: they have joined, and never were suspended.
    Where it does not, `standing_of` has to say."""
    return line.endswith(b"\t") and int(line[:-1]) <= moment


def _entry(value: bytes) -> dict[str, Any]:
    """A JSON object, read in half of the time that json.loads takes, for a million are read at a start."""
    text = value.decode()
    entry, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise ValueError("more than one JSON value")
    return cast("dict[str, Any]", entry)


def _line(text: str) -> bytes:
    # A lone surrogate, which JSON can carry, has no bytes in UTF-8 proper.
    return text.encode("utf-8", "surrogatepass")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogatepass")
