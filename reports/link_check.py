"""What a pasted link will do, and what is wrong with it, without following it.

The redirect's own code decides (tracker/redirect.py, landing.py), on the directory as trackers look it up; for links
straight to a site it is the code that reads what its pages report (touch.py). Nothing is asked over the network, and no
click is recorded. Of another partner's link a partner learns what everybody sees who follows it, and no name (R20).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote_plus, urlsplit, urlunsplit

from reports.campaigns import deal_words, read_campaigns
from reports.partners import Partner, find_partner
from reports.pasted_link import BAD, CAREFUL, NOTE, Finding, read_pasted
from reports.room import Room
from tracker import redis_keys
from tracker.app import is_link
from tracker.client_address import Client
from tracker.directory_lines import Link, link_line, link_of, partner_line, standing_of
from tracker.events import Verdict
from tracker.ids import is_caller_id, new_time_ordered_id, new_visitor_id
from tracker.landing import MAX_QUERY, home_of, read_landing, read_query, split_query
from tracker.redirect import Asked, Fresh, Target, View, decide, landing_of, read_path, result_of, target_of
from tracker.standing import Standing
from tracker.touch import read_report

MAX_LINK = 2048  # characters; many programs cut longer ones
MAX_SHOWN_PARAMETERS = 20
LEVEL_NAMES = {BAD: "wrong", CAREFUL: "careful", NOTE: "note"}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"  # whose clicks count
# What writers put behind a link, and programs take for a part of it.
_PUNCTUATION = ".,;:!?)]}>'\"*_"


@dataclass(slots=True)
class LinkCheck:
    """What a link does. `verdict` is the answer in a sentence; `whose` is `own`, `other` or empty where it is nobody's;
    `counts` says whether a click on it counts, for a partner who asks: for them. `facts` are named values to show.
    `url` is the link as it was understood."""

    pasted: str
    url: str = ""
    kind: str = ""
    verdict: str = ""
    counts: bool = False
    whose: str = ""
    partner_id: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def costs_clicks(self) -> bool:
        """Whether something is wrong with it."""
        return any(one.level == BAD for one in self.findings)

    @property
    def is_good(self) -> bool:
        """Whether a click on it counts for whom it should, and nothing is wrong with it."""
        return self.counts and self.whose == "own" and not self.costs_clicks

    def say(self, level: str, text: str) -> None:
        self.findings.append(Finding(level, text))

    def document(self) -> dict[str, Any]:
        """The check as the API shows it."""
        return {
            "link": self.url,
            "kind": self.kind,
            "verdict": self.verdict,
            "counts": self.counts,
            "whose": self.whose,
            "facts": self.facts,
            "findings": [{"level": LEVEL_NAMES[one.level], "text": one.text} for one in self.findings],
        }


async def check_link(room: Room, pasted: str, viewer: Partner | None) -> LinkCheck:
    """What a link does for `viewer`, a partner, or for an administrator (None), who may know whose link it is."""
    check = LinkCheck(pasted[: MAX_LINK + 1])
    if len(pasted) > MAX_LINK:
        check.verdict = f"This is longer than {MAX_LINK:,} characters. Many programs cut such links."
        return check
    check.url, check.findings = read_pasted(pasted, room.settings.tracker_url)
    parts = _split(check.url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        check.verdict = "This is not a link: one begins with https:// and names a site."
        return check
    tracker = urlsplit(room.settings.tracker_url)
    if _authority(parts) == _authority(tracker):
        _expect_scheme(check, parts, tracker.scheme)
        await _check_tracker_link(check, room, parts, viewer)
    elif read_landing(check.url, room.program.hosts) is not None:
        await _check_site_link(check, room, parts, viewer)
    else:
        check.verdict = "It does not lead to the program: nobody gets this click."
        check.facts["Leads to"] = parts.netloc
        check.say(NOTE, "Links are not followed here. If this one leads on to one of yours, paste that one.")
    if check.counts and check.whose == "own" and check.costs_clicks:
        check.verdict = f"{check.verdict[:-1]}, but something is wrong with it."
    return check


# ── Links of the tracker ──────────────────────────────────────────────────────────────────────────


async def _check_tracker_link(check: LinkCheck, room: Room, parts: SplitResult, viewer: Partner | None) -> None:
    """A short or a direct link: what the redirect would decide for somebody's first click now."""
    if not is_link(parts.path):
        check.verdict = "This is an address of Lasttouch's own, and no link to share."
        return
    asked = read_path(parts.path, room.program)
    link = await find_link(room, asked.code) if asked.code else None
    partner_id = link.partner_id if link else asked.partner_id
    standing = await find_standing(room, partner_id) if partner_id else None
    target = target_of(asked, link, standing, room.program)
    query = read_query(parts.query.encode("utf-8", "replace"))
    view = View("GET", query, {"user-agent": BROWSER}, Client("", parts.scheme == "https", ""))
    now_ms = room.now_ms()
    decision = decide(
        view, target, room.program, room.secret, Fresh(now_ms, new_time_ordered_id(now_ms), new_visitor_id())
    )
    check.kind = "Short link" if asked.is_link else "Direct link"
    check.facts |= {"Product": target.product.name, "Leads to": _without_stamp(decision.location)}
    if target.campaign:
        check.facts["Campaign"] = target.campaign
    passed, to = split_query(query)
    _show_passed(check, passed)
    await _judge(check, room, decision.result, target, viewer)
    if decision.result.startswith("unknown"):
        await _suggest(check, room, parts, viewer)
    _look_at_tracker_query(check, room, asked, target, parts, to)


def _look_at_tracker_query(
    check: LinkCheck, room: Room, asked: Asked, target: Target, parts: SplitResult, to: str | None
) -> None:
    """What of the path and the query does not do what it seems to."""
    words = parts.path.strip("/").split("/")
    if not asked.is_link and len(words) == 3 and words[2] not in room.program.products:
        products = ", ".join(room.program.products)
        check.say(BAD, f"There is no product {words[2]!r}; it leads to {target.product.name}. There are {products}.")
    names = [name for name, _ in _pairs(parts.query)]
    if len(parts.query) > MAX_QUERY:
        check.say(BAD, "Its parameters are too long to be passed on.")
    if to and not _is_followed(to, target, room):
        why = (
            "leads outside the program's sites" if to.startswith(("/", "http")) else "does not begin with / or https://"
        )
        check.say(BAD, f"to= {why} and is ignored: the link leads to the home page.")
    if names.count("to") > 1:
        check.say(CAREFUL, "It has more than one to=; only the first is looked at.")
    for name in ("a", "lt"):
        if name in names:
            check.say(CAREFUL, f"{name}= is always ours in such a link; the one in it is left out.")


def _is_followed(to: str, target: Target, room: Room) -> bool:
    """Whether the redirect leads where `to` says. It leads to the home page where not, and where that is asked for."""
    landing = landing_of(target.product, target.landing_url, to, room.program)
    home = home_of(target.product, room.program)
    asked = _split(to)
    asks_for_home = asked is not None and asked.path in ("", "/") and asked.netloc in ("", urlsplit(home.base).netloc)
    return landing != home or (asks_for_home and not to.startswith("?"))


# ── Links straight to a site ──────────────────────────────────────────────────────────────────────


async def _check_site_link(check: LinkCheck, room: Room, parts: SplitResult, viewer: Partner | None) -> None:
    """A page of the program with `?a=…`: its own script reports the click (linker.js)."""
    pairs = _pairs(parts.query)
    given = [value for name, value in pairs if name == "a"]
    partner_id = given[0] if given and is_caller_id(given[0]) else ""
    nobody = "nobody"  # read_report wants somebody
    report = read_report(
        {"visitor_id": new_visitor_id(), "partner_id": partner_id or nobody, "url": check.url, "referrer": ""},
        room.program,
    )
    check.kind = "Link straight to the site"
    check.facts |= {"Product": report.product.name, "Leads to": _without_stamp(check.url)}
    if report.campaign:
        check.facts["Campaign"] = report.campaign
    _show_passed(check, report.passed)
    _expect_scheme(check, parts, urlsplit(report.product.url).scheme)
    if not given:
        check.verdict = "It leads to the site but names no partner: nobody gets this click."
        own = f"a={viewer.partner_id}" if viewer else "a= and the Partner ID"
        check.say(BAD, f"There is no a= in it. Add {own}, or use a link of the tracker's.")
    else:
        standing = await find_standing(room, partner_id) if partner_id else None
        target = Target(given[0], standing, report.product, report.campaign)
        await _judge(check, room, result_of(target, Verdict.HUMAN, room.now_ms()), target, viewer)
        if standing is None:
            await _suggest(check, room, parts, viewer)
    _look_at_site_query(check, [name for name, _ in pairs], dict(pairs))


def _look_at_site_query(check: LinkCheck, names: list[str], values: Mapping[str, str]) -> None:
    if names.count("a") > 1:
        check.say(BAD, "It has more than one a=. Leave one.")
    if "lt" in names:
        check.say(
            BAD,
            "lt= is the stamp of one visitor's browser, copied from its address bar. It is not for others: cut it out.",
        )
    if "to" in names:
        check.say(CAREFUL, "to= does nothing here; it is for links of the tracker's.")
    if check.counts and "utm_source" not in names:
        check.say(NOTE, "Without utm_source=PP the site's web statistics don't see the program; the click counts.")
    campaign = values.get("utm_campaign", "")
    if campaign and "Campaign" not in check.facts:
        check.say(NOTE, f"{campaign[:60]!r} is not a campaign of the program's; those begin with pp_. It is passed on.")
    check.say(NOTE, "The site's own script counts this click. Where scripts are blocked, only a tracker's link counts.")


# ── What both have in common ──────────────────────────────────────────────────────────────────────


async def _judge(check: LinkCheck, room: Room, result: str, target: Target, viewer: Partner | None) -> None:
    """The verdict, by what X-Lasttouch would say."""
    check.counts = result == "counted"
    partner_id = target.partner_id or ""
    if result == "unknown-link":
        check.verdict = "Nobody gets this click: there is no link with this code. It leads to the home page."
        return
    if result == "unknown-partner":
        check.verdict = "Nobody gets this click: there is no partner with this ID."
        check.facts["Partner ID"] = partner_id or "–"
        return
    check.partner_id = partner_id
    check.facts = {"Partner ID": partner_id, **check.facts}
    if viewer is not None and viewer.partner_id != partner_id:
        check.whose, check.counts = "other", False  # whether it counts for them is theirs to know
        check.verdict = "This is another partner's link: you earn nothing with it."
        return
    check.whose = "own"
    if target.campaign:
        await _show_campaign(check, room, target.campaign)
    owner = viewer or await find_partner(room, partner_id)
    name = "you" if viewer else f"{owner.name} ({partner_id})" if owner else partner_id
    if check.counts:
        check.verdict = f"A click on it counts for {name}."
    elif viewer:
        check.verdict = "Your account is suspended: visitors are sent on, but their clicks do not count."
    else:
        check.verdict = f"{name} is suspended: visitors are sent on, but their clicks do not count."


async def _show_campaign(check: LinkCheck, room: Room, slug: str) -> None:
    """The partner's campaign, and what it gives to who signs up."""
    campaign = (await read_campaigns(room, check.partner_id)).find(slug)
    if campaign is None:
        check.say(CAREFUL, f"There is no campaign {slug!r} of this partner's. The click counts, but for no campaign.")
        return
    check.facts |= {"Campaign": f"{campaign.name} ({slug})", "Deal": deal_words(campaign, room.program) or "none"}
    if campaign.disabled_at is not None:
        check.facts["Deal"] = "none"
        check.say(CAREFUL, "This campaign is switched off: it gives no deal, and its link leads to the home page.")


async def _suggest(check: LinkCheck, room: Room, parts: SplitResult, viewer: Partner | None) -> None:
    """What an unknown code or Partner ID probably was meant to be."""
    path = parts.path.strip("/")
    said = next((value for name, value in _pairs(parts.query) if name == "a"), path.rpartition("/")[2])
    bare = said.rstrip(_PUNCTUATION)
    if bare != said and await _is_known(room, bare):
        check.say(BAD, f"{said[len(bare) :]!r} at its end does not belong to it; without it, it is a link.")
    for known in (viewer.partner_id, *viewer.links.values()) if viewer else ():
        if known != bare and known.casefold() == bare.casefold():
            check.say(BAD, f"Capital and small letters matter: yours is {known}.")


async def _is_known(room: Room, code_or_id: str) -> bool:
    if not is_caller_id(code_or_id):
        return False
    return bool(await find_link(room, code_or_id) or await find_standing(room, code_or_id))


async def find_link(room: Room, code: str) -> Link | None:
    """The directory's link of a code, as trackers look it up."""
    value = await room.redis.hget(redis_keys.LINKS, code)
    line = link_line(code, cast("bytes", value)) if value is not None else None
    return link_of(line) if line is not None else None


async def find_standing(room: Room, partner_id: str) -> Standing | None:
    """A partner's standing in the directory, as trackers look it up."""
    value = await room.redis.hget(redis_keys.PARTNERS, partner_id)
    line = partner_line(partner_id, cast("bytes", value)) if value is not None else None
    return standing_of(partner_id, line) if line is not None else None


def _expect_scheme(check: LinkCheck, parts: SplitResult, scheme: str) -> None:
    if parts.scheme == "http" and scheme == "https":
        check.say(CAREFUL, "It begins with http://. With https:// nobody on the way can read or change it.")


def _show_passed(check: LinkCheck, passed: list[str]) -> None:
    if passed:
        more = len(passed) - MAX_SHOWN_PARAMETERS
        shown = " ".join(passed[:MAX_SHOWN_PARAMETERS])
        check.facts["Passed on"] = f"{shown} and {more} more" if more > 0 else shown


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _authority(parts: SplitResult) -> str:
    """Host and port, without the scheme's own port."""
    own_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.lower().removesuffix(own_port)


def _pairs(query: str) -> list[tuple[str, str]]:
    """The parameters that are looked at."""
    return parse_qsl(query[:MAX_QUERY], keep_blank_values=True)


def _without_stamp(url: str) -> str:
    """A URL without a stamp: one that is shown is soon shared."""
    parts = urlsplit(url)
    kept = "&".join(pair for pair in parts.query.split("&") if unquote_plus(pair.partition("=")[0]) != "lt")
    return urlunsplit(parts._replace(query=kept))
