"""The country of an address: from the database that comes along, from a file of one's own, or from nowhere.

The one that comes along is inside `iptocc`: which country each block of addresses was given to, by the daily
statistics of the five registries (AFRINIC, APNIC, ARIN, LACNIC, RIPE NCC). It answers in a tenth of a microsecond,
needs no file, no thread and no network, and is as new as the installed version. ADR 7 has the licences, and says how
right it is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracker.errors import SettingError

BUNDLED = "bundled"
OFF = "off"

CountryOf = Callable[[str], str]
"""An address as text → its country in two letters (ISO 3166-1), empty where nobody knows."""

_TWO_LETTERS = re.compile(r"[A-Za-z]{2}", re.ASCII)
# Codes that stand for no country: unknown, the Tor network, and regions of a registry.
_NO_COUNTRY = {"XX", "ZZ", "T1", "EU", "AP"}

log = logging.getLogger(__name__)


def nowhere(address: str) -> str:
    """The country of any address, where none is looked up."""
    return ""


def open_countries(source: str) -> CountryOf:
    """What knows the country of an address: `bundled`, `off`, or the path of an MMDB file.

    Raises SettingError, in one line, for a file that cannot be read.
    """
    if source == OFF:
        return nowhere
    return _bundled() if source == BUNDLED else _file(Path(source))


def country_code(text: str) -> str:
    """Two letters in upper case; empty for what is no country's code."""
    code = text.strip().upper()
    return code if _TWO_LETTERS.fullmatch(code) and code not in _NO_COUNTRY else ""


def _bundled() -> CountryOf:
    try:
        from iptocc import country_code as registered_in
    except ImportError as error:
        log.warning("clicks will have no country: %s; install iptocc or set LASTTOUCH_COUNTRIES", error)
        return nowhere
    return lambda address: country_code(registered_in(address) or "")


def _file(path: Path) -> CountryOf:
    """A database in MaxMind's format, mapped into memory, which all workers share."""
    import maxminddb

    try:
        database = maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise SettingError(f"LASTTOUCH_COUNTRIES: {path} is no MMDB file that can be read: {error}") from None
    knows_ipv6 = database.metadata().ip_version == 6

    def country_of(address: str) -> str:
        return country_in(database.get(address)) if knows_ipv6 or ":" not in address else ""

    return country_of


def country_in(record: Any) -> str:
    """The country in a record of an MMDB file: as MaxMind and DB-IP write it, or as IPinfo and others do."""
    if not isinstance(record, dict):
        return ""
    found = record.get("country_code") or record.get("country")
    if isinstance(found, dict):
        found = found.get("iso_code")
    return country_code(found) if isinstance(found, str) else ""
