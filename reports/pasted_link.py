"""A link as people paste it: with blanks, quotes and what else clings to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tracker.ids import is_caller_id

_INVISIBLE = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_FOR_URLS = re.compile(r"[^\x21-\x7e]|[\"<>\\^`{|}]")

BAD, CAREFUL, NOTE = "bad", "warn", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about a link: `bad` costs clicks, `warn` may, `note` is good to know."""

    level: str
    text: str


def read_pasted(pasted: str, tracker_url: str) -> tuple[str, list[Finding]]:
    """The link in what was pasted, and what had to be mended. A code alone is a link of the tracker's."""
    findings: list[Finding] = []

    def say(level: str, words: str) -> None:
        findings.append(Finding(level, words))

    text = pasted.translate(_INVISIBLE)
    if text != pasted:
        say(BAD, "There are invisible characters in it. Type the link anew where you share it.")
    bare = text.strip()
    if bare != text:
        say(CAREFUL, "There is a blank or a line break around the link. Leave it out where you share it.")
    while len(bare) > 1 and (bare[0], bare[-1]) in (("<", ">"), ('"', '"'), ("'", "'"), ("(", ")"), ("“", "”")):
        bare = bare[1:-1].strip()
        say(CAREFUL, "Quotes or brackets around the link are no part of it.")
    if re.search(r"\s", bare):
        say(BAD, "There is a blank inside. Most programs cut a link there; write %20, or + in a parameter.")
        bare = re.sub(r"\s+", "%20", bare)
    if "&amp;" in bare:
        say(CAREFUL, "&amp; is right in a page's source only; everywhere else write &.")
    if odd := sorted(set(_NOT_FOR_URLS.findall(bare))):
        shown = " ".join(odd[:5])
        say(CAREFUL, f"These characters should be percent-encoded: {shown}. Browsers do, other programs may not.")
    if bare and not _SCHEME.match(bare):
        if is_caller_id(bare) and "." not in bare:
            return f"{tracker_url}/{bare}", findings
        if ":" not in bare.partition("/")[0] or bare.partition("/")[0].rpartition(":")[2].isdigit():
            say(CAREFUL, "It does not begin with https://; many programs don't take it for a link then.")
            return f"{urlsplit(tracker_url).scheme}://{bare}", findings
    return bare, findings
