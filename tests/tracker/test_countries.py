"""Where countries come from: the database that comes along, a file of the operator's, or nowhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tracker.countries import BUNDLED, OFF, country_code, nowhere, open_countries
from tracker.errors import SettingError


@pytest.mark.parametrize(
    ("country", "addresses"),
    [
        ("US", ("8.8.8.0", "9.9.9.0", "208.67.222.0", "17.0.0.0", "2001:4860:4860::", "2606:4700::")),
        ("PL", ("194.204.152.0", "212.77.98.0", "193.59.201.0", "2a00:f40::")),
        ("DE", ("194.25.2.0", "217.0.0.0", "84.200.69.0", "2a01:4f8::")),
        ("FR", ("80.67.169.0", "194.2.0.0")),
        ("GB", ("158.43.128.0", "81.2.69.0")),
        ("CN", ("114.114.114.0", "202.96.128.0", "240e::")),
        ("JP", ("202.12.27.0", "210.130.0.0")),
        ("BR", ("200.221.11.0", "200.160.2.0")),
        ("ZA", ("196.25.1.0",)),
        ("AU", ("1.1.1.0", "139.130.4.0")),
        ("RU", ("77.88.8.0", "2a02:6b8::")),
        ("IN", ("164.100.1.0",)),
    ],
)
def test_well_known_addresses(country: str, addresses: tuple[str, ...]) -> None:
    country_of = open_countries(BUNDLED)
    assert {address: country_of(address) for address in addresses} == dict.fromkeys(addresses, country)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.0", "10.1.2.0", "172.16.3.0", "192.168.1.0", "169.254.1.0", "100.64.1.0", "0.0.0.0", "224.0.0.0",
        "255.255.255.0", "192.0.2.0", "198.51.100.0", "203.0.113.0",
        "::", "fe80::", "fc00::", "2001:db8::", "ff02::", "", "nonsense",
    ],
)  # fmt: skip
def test_addresses_in_no_country(address: str) -> None:
    assert open_countries(BUNDLED)(address) == ""


def test_off_is_no_country() -> None:
    assert open_countries(OFF)("8.8.8.0") == ""


def test_without_the_database_there_are_clicks_without_countries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "iptocc", None)
    assert open_countries(BUNDLED) is nowhere
    assert "set LASTTOUCH_COUNTRIES" in caplog.text


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize(
    "record",
    [
        {"country": {"iso_code": "PL", "names": {"en": "Poland"}}, "continent": {"code": "EU"}},
        {"country_code": "PL", "country": "Poland"},
        {"country": "PL"},
        {"country_code": "pl"},
    ],
)
def test_a_file_of_the_operators(record: dict[str, Any], ip_version: int, tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    networks = ["203.0.113.0/24"] if ip_version == 4 else ["203.0.113.0/24", "2001:db8:7::/48"]
    writer = MMDBWriter(ip_version, "Test", ipv4_compatible=ip_version == 6)
    writer.insert_network(IPSet(networks), record)
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"continent": {"code": "EU"}})
    writer.to_db_file(str(file))
    country_of = open_countries(str(file))
    assert [country_of(address) for address in ("203.0.113.0", "198.51.100.0", "8.8.8.0")] == ["PL", "", ""]
    assert country_of("2001:db8:7::") == ("PL" if ip_version == 6 else "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    for content in (b"", b"start,end,country\n", b"\xab\xcd\xefMaxMind.com" * 3):
        file.write_bytes(content)
        with pytest.raises(SettingError, match=r"LASTTOUCH_COUNTRIES: .*countries.mmdb"):
            open_countries(str(file))


@pytest.mark.parametrize(
    ("text", "code"),
    [("pl", "PL"), (" DE ", "DE"), ("XX", ""), ("T1", ""), ("EU", ""), ("POL", ""), ("", ""), ("<b>", ""), ("ŁŁ", "")],
)
def test_codes(text: str, code: str) -> None:
    assert country_code(text) == code
