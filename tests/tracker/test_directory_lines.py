"""Directory entries as lines: everything that redirects need comes back, nothing that identifies anybody goes in."""

from __future__ import annotations

import json

import pytest

from tracker.directory_lines import Link, link_line, link_of, partner_line, standing_of
from tracker.standing import Change

ODD = ["", "plain", "späte & co", "tab\tand\nfeeds\r", "back\\slash \\t \\n \\", "\ud800 alone", "\u2028 \x7f", "漢字"]


@pytest.mark.parametrize("text", ODD)
def test_a_link_comes_back(text: str) -> None:
    for ensure_ascii in (True, False):
        entry = {"partner_id": "W-1", "product": text, "campaign": text, "landing_url": f"https://x/{text}"}
        value = json.dumps(entry, ensure_ascii=ensure_ascii).encode(
            "utf-8", "surrogatepass" if ensure_ascii else "replace"
        )
        line = link_line("c", value)
        assert line is not None and b"\n" not in line and b"\0" not in line
        read = json.loads(value)
        assert link_of(line) == Link("W-1", read["product"], read["campaign"], read["landing_url"])


def test_what_a_link_may_lack() -> None:
    line = link_line("c", b'{"partner_id": "W-1", "product": "livechat", "campaign": null}')
    assert line is not None and link_of(line) == Link("W-1", "livechat", "", "")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("c", b"{"),
        ("c", b"{} {}"),
        ("c", b"[]"),
        ("c", b"null"),
        ("c", b'"text"'),
        ("c", b"\xff"),
        ("c", b'{"product": "livechat"}'),
        ("c", b'{"partner_id": "W-1"}'),
        ("c", b'{"partner_id": 1, "product": "livechat"}'),
        ("c", b'{"partner_id": "W\\n1", "product": "livechat"}'),
        ("c", b'{"partner_id": "W-1", "product": 5}'),
        ("c\td", b'{"partner_id": "W-1", "product": "livechat"}'),
        ("c\nd", b'{"partner_id": "W-1", "product": "livechat"}'),
    ],
)
def test_a_link_that_cannot_be_read(code: str, value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert link_line(code, value) is None
    assert f"link {code!r} cannot be read" in caplog.text


def test_a_partner_comes_back_without_what_identifies_them() -> None:
    changes = [[20, "e2", "reinstated"], [10, "e\t1", "suspended"]]
    entry = {"joined_at": 7, "name": "Jo", "email": "jo@example.org", "email_hash": "abc", "recruiter_id": "Q"}
    line = partner_line("P", json.dumps({**entry, "changes": changes}).encode())
    assert line is not None and b"\n" not in line
    for told in (b"Jo", b"jo@", b"abc"):
        assert told not in line
    standing = standing_of("P", line)
    assert (standing.partner_id, standing.joined_at, standing.email_hash, standing.rates) == ("P", 7, "", ())
    assert standing.changes == (Change(10, "e\t1", "suspended"), Change(20, "e2", "reinstated"))
    assert partner_line("P", b'{"joined_at": 7}') == b"7\t"


@pytest.mark.parametrize(
    ("partner_id", "value"),
    [
        ("P", b"{}"),
        ("P", b'{"joined_at": null}'),
        ("P", b'{"joined_at": 1, "changes": [[1]]}'),
        ("P\n", b'{"joined_at": 1}'),
    ],
)
def test_a_partner_that_cannot_be_read(partner_id: str, value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert partner_line(partner_id, value) is None
    assert f"partner {partner_id!r} cannot be read" in caplog.text
