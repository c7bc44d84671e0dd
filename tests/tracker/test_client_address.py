"""Who is at the other end: what proxies of ours say is believed, what strangers say is not."""

from __future__ import annotations

import time
from ipaddress import ip_network

import pytest

from tracker.client_address import MAX_FORWARDED, Client, Clients, ip_prefix, read_address, read_forwarded

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7")]
CLIENTS = Clients(PROXIES, "x-country", lambda address: "PL" if address.startswith("203.0.113") else "")
PROXY = "10.0.0.1"
OURS = "10.0.0.0/24"  # what is kept of a request of which no more than our own proxy is known
THEIRS = "203.0.113.0/24"
THEIRS_6 = "2001:db8:1::/48"


def kept_of(text: str) -> str:
    """What is kept of an address as text."""
    address = read_address(text)
    return ip_prefix(address) if address else ""


def prefix(peer: str, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return CLIENTS.read(peer, "http", named).ip_prefix


@pytest.mark.parametrize("peer", ["198.51.100.7", "192.0.2.8", "2001:db8::10:0:0:1", "", "unix:", "10.0.0.1.evil"])
def test_a_stranger_is_not_believed(peer: str) -> None:
    headers = {
        "x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9;proto=https", "x-forwarded-proto": "https",
        "x-country": "DE",
    }  # fmt: skip
    assert CLIENTS.read(peer, "http", headers) == CLIENTS.read(peer, "http", {}) == Client(kept_of(peer), False, "")


def test_without_proxies_nobody_is_believed() -> None:
    everybody = Clients(country_header="x-country")
    assert everybody.read(PROXY, "https", {"x-forwarded-for": "203.0.113.9", "x-country": "DE"}) == (OURS, True, "")


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("203.0.113.9", THEIRS),
        ("203.0.113.9:4711", THEIRS),
        ('"203.0.113.9"', THEIRS),
        ("2001:db8:1:2::3", THEIRS_6),
        ("[2001:db8:1:2::3]", THEIRS_6),
        ("[2001:db8:1:2::3]:4711", THEIRS_6),
        ("2001:db8:1:2::3%eth0", THEIRS_6),
        ("::ffff:203.0.113.9", THEIRS),
        ("::FFFF:cb00:7109", THEIRS),
        # Whatever stands to the left of the first address that is not ours was written by a stranger.
        ("6.6.6.6, 203.0.113.9", THEIRS),
        ("6.6.6.6,203.0.113.9,10.0.0.2", THEIRS),
        ("10.0.0.3, 203.0.113.9, fd00::1, 192.0.2.7", THEIRS),
        ("127.0.0.1, 203.0.113.9, ::ffff:10.0.0.2", THEIRS),
        ("\t6.6.6.6 ,\t203.0.113.9 ", THEIRS),
        ("6.6.6.6, , ,203.0.113.9,,", THEIRS),
        # What is no address ends the search: the last that is known is ours.
        ("203.0.113.9, unknown", OURS),
        ("203.0.113.9, _hidden, 10.0.0.2", OURS),
        ("203.0.113.9, 203.0.113.9.evil", OURS),
        ("203.0.113.9, 256.1.1.1", OURS),
        ("203.0.113.9, [2001:db8::1", THEIRS.replace("203.0.113.0/24", "2001:db8::/48")),
        ("203.0.113.9, 1.2.3.4 5", OURS),
        ("203.0.113.9, 0x7f.1", OURS),
        ("203.0.113.9, 010.0.0.1", OURS),
        ("203.0.113.9, 3405803785", OURS),
        ("203.0.113.9, " + "1" * 500, OURS),
        ("203.0.113.9, 1.2.3.4:" + "1" * 500, OURS),
        ("for=203.0.113.9", OURS),
        ("10.0.0.9, 10.0.0.8", OURS),
        ("", OURS),
        (",,, ,", OURS),
        # A chain of proxies of ours that is longer than any is.
        ("203.0.113.9, " + "10.0.0.2, " * 19 + "10.0.0.2", OURS),
        ("203.0.113.9, " + "10.0.0.2, " * 18 + "10.0.0.2", THEIRS),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(chain: str, expected: str) -> None:
    assert prefix(PROXY, x_forwarded_for=chain) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("for=203.0.113.9", THEIRS),
        ("FOR=203.0.113.9;Proto=https;by=10.0.0.2", THEIRS),
        ('by=10.0.0.2; for="203.0.113.9:4711" ;host=go.example', THEIRS),
        ('for="[2001:db8:1:2::3]:4711"', THEIRS_6),
        ("for=[2001:db8:1:2::3]", THEIRS_6),
        ("for=6.6.6.6, for=203.0.113.9, for=10.0.0.2", THEIRS),
        ("for=6.6.6.6,,for=203.0.113.9 , ,", THEIRS),
        ("for=6.6.6.6;;, ;for=203.0.113.9;", THEIRS),
        ("for=203.0.113.9, for=unknown", OURS),
        ("for=203.0.113.9, for=_gazonk", OURS),
        ('for=203.0.113.9, for="_gazonk:80"', OURS),
        ("for=203.0.113.9, by=10.0.0.2", OURS),
        ("", OURS),
        # What a visitor can make a proxy write into its own element: a host.
        ('for=203.0.113.9;host="x;for=6.6.6.6"', THEIRS),
        ('for=203.0.113.9;host="\\";for=6.6.6.6"', THEIRS),
        ('for=203.0.113.9;host="x, for=6.6.6.6"', OURS),
        ("for=203.0.113.9;host=for=6.6.6.6", THEIRS),
        ("for=203.0.113.9;x-for=6.6.6.6", THEIRS),
        ("for=203.0.113.9;host=x;for=6.6.6.6", OURS),
        # What is not well-formed says nothing: a stranger wrote the beginning.
        ('for="6.6.6.6, for=203.0.113.9', OURS),
        ('for=6.6.6.6;by=", for=203.0.113.9;by="', OURS),
        ('for=6.6.6.6;by="\\, for=203.0.113.9;by="', OURS),
        ('for=6.6.6.6;by=", for="[2001:db8:1:2::3]"', OURS),
        ('for=6.6.6.6", for=203.0.113.9', OURS),
        ("for 6.6.6.6, for=203.0.113.9", OURS),
        ("for=6.6.6.6 x, for=203.0.113.9", OURS),
        ("for=203.0.113.9, " * 1000 + "for=203.0.113.9", OURS),
    ],
)
def test_forwarded_is_read_as_it_is_quoted(header: str, expected: str) -> None:
    assert prefix(PROXY, forwarded=header) == expected


def test_x_forwarded_for_goes_before_forwarded() -> None:
    assert prefix(PROXY, x_forwarded_for="203.0.113.9", forwarded="for=6.6.6.6") == THEIRS
    assert prefix(PROXY, x_forwarded_for="unknown", forwarded="for=6.6.6.6") == OURS
    assert prefix(PROXY, x_forwarded_for=" , ", forwarded="for=203.0.113.9") == THEIRS


@pytest.mark.parametrize(
    ("scheme", "headers", "is_https"),
    [
        ("http", {}, False),
        ("https", {}, True),
        ("http", {"x-forwarded-proto": "HTTPS"}, True),
        ("https", {"x-forwarded-proto": "http"}, False),
        ("http", {"x-forwarded-proto": "https, http"}, True),
        ("http", {"forwarded": "for=203.0.113.9;proto=https"}, True),
        ("http", {"forwarded": "for=203.0.113.9;proto=https, for=10.0.0.2"}, True),
        ("http", {"forwarded": "for=203.0.113.9, for=10.0.0.2;proto=https"}, True),
        ("http", {"forwarded": "for=6.6.6.6;proto=https, for=203.0.113.9"}, False),
        ("http", {"forwarded": 'for=203.0.113.9;host="proto=https"'}, False),
    ],
)
def test_the_scheme_is_the_visitors(scheme: str, headers: dict[str, str], is_https: bool) -> None:
    assert CLIENTS.read(PROXY, scheme, headers).is_https is is_https


@pytest.mark.parametrize(
    ("headers", "country"),
    [
        ({}, ""),
        ({"x-forwarded-for": "203.0.113.9"}, "PL"),
        ({"x-forwarded-for": "203.0.113.9", "x-country": "de"}, "DE"),
        ({"x-forwarded-for": "203.0.113.9", "x-country": ""}, "PL"),
        ({"x-forwarded-for": "203.0.113.9", "x-country": "T1"}, ""),
        ({"x-forwarded-for": "203.0.113.9", "x-country": "DE, FR"}, ""),
        ({"x-forwarded-for": "203.0.113.9", "cf-ipcountry": "DE"}, "PL"),
        ({"x-forwarded-for": "198.51.100.1"}, ""),
    ],
)
def test_the_header_that_was_chosen_names_the_country_else_the_address_does(
    headers: dict[str, str], country: str
) -> None:
    assert CLIENTS.read(PROXY, "http", headers).country == country


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("203.0.113.255", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("2002:cb00:7109:1::1", "203.0.113.0/24"),
        ("64:ff9b::203.0.113.9", "64:ff9b::/48"),
        ("::203.0.113.9", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("nobody", ""),
    ],
)
def test_no_address_is_kept_whole(address: str, kept: str) -> None:
    assert kept_of(address) == kept == CLIENTS.read(address, "http", {}).ip_prefix


@pytest.mark.parametrize("one", [",", "1.2.3.4,", "for=;", " ", "a", '"', "a=b,", "\\a"])
def test_headers_as_long_as_can_be_take_no_time(one: str) -> None:
    """A head may have 64 KiB, and whoever sends it must not hold up others."""
    text = one * (65_000 // len(one))
    taken = []
    for _ in range(3):
        started = time.thread_time()
        CLIENTS.read(PROXY, "http", {"x-forwarded-for": text, "forwarded": text})
        read_forwarded(text[:MAX_FORWARDED])
        read_forwarded(f'for="{text}'[:MAX_FORWARDED])
        taken.append(time.thread_time() - started)
    assert min(taken) < 0.02
