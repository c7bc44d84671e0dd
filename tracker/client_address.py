"""Who is at the other end, as far as our own proxies can be believed: address, scheme and country.

Anyone can write an `X-Forwarded-For`; it is read only when the connection comes from a trusted proxy, and then from
the right: the first address that is not one of our proxies is the client. Addresses are truncated before they are kept,
and looked up truncated.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tracker.countries import CountryOf, country_code, nowhere

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# More hops than this are a forgery or a loop; only the nearest are read.
MAX_HOPS = 20
MAX_FORWARDED = 2048  # characters of a Forwarded header; a longer one is not read
MAX_ADDRESS = 80  # characters: an IPv6 address with brackets, zone and port is shorter
REMEMBERED_ADDRESSES = 8192
IPV4_PREFIX_BITS = 24
IPV6_PREFIX_BITS = 48

# The headers in which a proxy may name the client's country: those of four large ones, and two for any other.
COUNTRY_HEADERS = (
    "cf-ipcountry", "cloudfront-viewer-country", "x-appengine-country", "x-vercel-ip-country",
    "x-country", "x-country-code",
)  # fmt: skip

# One `name=value` of a Forwarded header (RFC 7239), or nothing, and what ends it. IPv6 should be quoted, but is not
# always. A quoted comma is refused: nobody needs one, and it would let a quote reach over what our proxies added.
_FORWARDED_PAIR = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+.^_`|~\w-]++)=("(?:[^",\\]|\\[^,])*+"|[^\s",;]*+))?[ \t]*+([;,]|\Z)""", re.ASCII
)


class Client(NamedTuple):
    """`ip_prefix` is a network such as `203.0.113.0/24`, empty when unknown; `country` two letters or empty."""

    ip_prefix: str
    is_https: bool
    country: str


class Place(NamedTuple):
    """Where an address is, and whether it is one of our proxies'; empty for what is no address."""

    ip_prefix: str
    country: str
    is_ours: bool


class Hop(NamedTuple):
    """What a proxy says of who asked it: an address, or something else, and a scheme where it says so."""

    address: str
    scheme: str


class Clients:
    """Tells who is at the other end of a request.

    `trusted` are the networks of our proxies, `country_header` the one in which they name the client's country (one of
    COUNTRY_HEADERS, or empty), `country_of` knows the country of an address otherwise.
    """

    def __init__(
        self, trusted: Sequence[Network] = (), country_header: str = "", country_of: CountryOf = nowhere
    ) -> None:
        self.trusted = tuple(trusted)
        self._country_header = country_header
        self._country_of = country_of
        self._place = lru_cache(REMEMBERED_ADDRESSES)(self._find_place)

    def read(self, peer: str, scheme: str, headers: Mapping[str, str]) -> Client:
        """The client of a request. `peer` and `scheme` are the connection's, `headers` have lower-case names."""
        place = self._place(peer)
        if not place.is_ours:
            return Client(place.ip_prefix, scheme == "https", place.country)
        hops = read_forwarded_for(headers.get("x-forwarded-for", "")) or read_forwarded(headers.get("forwarded", ""))
        for hop in reversed(hops):
            found = self._place(hop.address[: MAX_ADDRESS + 1])
            if not found.ip_prefix:
                break  # no address: what stands to the left of it cannot be told from a forgery
            place, scheme = found, hop.scheme or scheme
            if not place.is_ours:
                break
        scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() or scheme
        named = headers.get(self._country_header) if self._country_header else None
        return Client(place.ip_prefix, scheme == "https", country_code(named) if named else place.country)

    def _find_place(self, text: str) -> Place:
        address = read_address(text)
        if address is None:
            return Place("", "", False)
        prefix = ip_prefix(address)
        is_ours = any(address in network for network in self.trusted)
        return Place(prefix, self._country_of(prefix.partition("/")[0]), is_ours)


def ip_prefix(address: Address) -> str:
    """An address's network of 24 bits (IPv4) or 48 bits (IPv6) as text."""
    if isinstance(address, ipaddress.IPv6Address) and address.sixtofour:
        address = address.sixtofour  # the 48 bits of such an address hold the whole of an IPv4 address
    bits = IPV4_PREFIX_BITS if address.version == 4 else IPV6_PREFIX_BITS
    rest = address.max_prefixlen - bits
    return f"{type(address)(int(address) >> rest << rest)}/{bits}"


def read_address(text: str) -> Address | None:
    """An address from `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`; None when it is none."""
    if len(text) > MAX_ADDRESS:
        return None
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def read_forwarded_for(text: str) -> list[Hop]:
    """The nearest hops of an X-Forwarded-For, the nearest one last."""
    return [Hop(hop, "") for part in text.rsplit(",", MAX_HOPS)[-MAX_HOPS:] if (hop := part.strip())]


def read_forwarded(text: str) -> list[Hop]:
    """The nearest hops of a Forwarded (RFC 7239), the nearest one last.

    None where the header is too long or not well-formed: a stranger wrote its beginning.
    """
    if len(text) > MAX_FORWARDED:
        return []
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while (pair := _FORWARDED_PAIR.match(text, at)) is not None:
        name, value, end = pair.groups()
        if name is not None:
            if name.lower() in pairs:
                return []
            pairs[name.lower()] = value.strip('"')
        if end != ";" and pairs:
            hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower()))
            pairs = {}
        if not end:
            return hops[-MAX_HOPS:]
        at = pair.end()
    return []
