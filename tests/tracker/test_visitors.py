"""The visitor's cookie, the stamp that hands the id to a site, and opting out."""

from __future__ import annotations

import base64

import pytest

from tracker.ids import NIL_UUID
from tracker.program import Program
from tracker.visitors import OF_LINK, cookie_visitor, is_of_link, make_stamp, opted_out, read_stamp, visitor_cookie

SECRET = bytes(range(32))
VISITOR = "0190b5a4-7c3e-7d2a-9f00-0123456789ab"
NOW_MS = 1_760_000_000_123
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        (f"lt_vid={VISITOR}", VISITOR),
        (f"a=b; lt_vid={VISITOR}; c=d", VISITOR),
        (f'lt_vid="{VISITOR}"', VISITOR),
        (f"lt_vid=nonsense; lt_vid={VISITOR}", VISITOR),
        (f"xlt_vid={VISITOR}", None),
        (f"lt_vid={VISITOR.upper()}", None),
        (f"lt_vid={{{VISITOR}}}", None),
        (f"lt_vid={VISITOR}x", None),
        (f"lt_vid={NIL_UUID}", None),
        ("lt_vid", None),
        ("lt_vid=", None),
        (f"{'x=y;' * 10_000}lt_vid={VISITOR}", None),
    ],
)
def test_only_a_canonical_uuid_in_the_cookie_counts(header: str, found: str | None) -> None:
    assert cookie_visitor(header) == found


def test_the_cookie_as_the_contract_has_it() -> None:
    plain = f"lt_vid={VISITOR}; Max-Age=10368000; Path=/; HttpOnly; SameSite=Lax"
    assert visitor_cookie(VISITOR, Program(), is_https=False) == plain
    assert visitor_cookie(VISITOR, Program(), is_https=True) == f"{plain}; Secure"
    assert "Max-Age=2592000;" in visitor_cookie(VISITOR, Program(window_days=30), is_https=False)


def test_a_stamp_is_read_for_a_day() -> None:
    stamp = make_stamp(SECRET, VISITOR, NOW_MS)
    assert stamp.isascii() and len(stamp) == 44 and set(stamp).isdisjoint("+/=&? ")
    assert read_stamp(SECRET, stamp, NOW_MS) == VISITOR
    assert read_stamp(SECRET, stamp, NOW_MS + DAY_MS - 1_000) == VISITOR
    assert read_stamp(SECRET, stamp, NOW_MS + DAY_MS) is None


def test_a_links_stamp_is_one_as_well() -> None:
    stamp = make_stamp(SECRET, VISITOR, NOW_MS, OF_LINK)
    assert (len(stamp), read_stamp(SECRET, stamp, NOW_MS), is_of_link(stamp)) == (44, VISITOR, True)
    assert not is_of_link(make_stamp(SECRET, VISITOR, NOW_MS))


def test_a_stamp_with_any_bit_changed_or_another_key_is_refused() -> None:
    stamp = make_stamp(SECRET, VISITOR, NOW_MS)
    raw = base64.urlsafe_b64decode(stamp)
    for bit in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        assert read_stamp(SECRET, base64.urlsafe_b64encode(forged).decode(), NOW_MS) is None
    assert read_stamp(b"another secret", stamp, NOW_MS) is None


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 44, "A" * 43, "A" * 45, "é" * 44, "\0" * 44, "=" * 44, "A" * 100_000, VISITOR]
)
def test_broken_stamps_are_refused_without_an_error(text: str) -> None:
    assert read_stamp(SECRET, text, NOW_MS) is None


@pytest.mark.parametrize(
    ("headers", "is_out"),
    [
        ({}, False),
        ({"sec-gpc": "1"}, True),
        ({"dnt": "1"}, True),
        ({"dnt": "0", "sec-gpc": "0"}, False),
        ({"cookie": "lt_optout=1"}, True),
        ({"cookie": "x=1; lt_optout=0"}, False),
    ],
)
def test_opting_out(headers: dict[str, str], is_out: bool) -> None:
    assert opted_out(headers, Program()) is is_out
