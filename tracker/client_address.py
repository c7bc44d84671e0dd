"""Who is at the other end, as far as our own proxies can be believed: address, scheme and country.

Anyone can write an `X-Forwarded-For`; it is read only when the connection comes from a trusted proxy, and then from
the right: the first address that is not one of our proxies is the client. Addresses are truncated before they are kept.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# More hops than this are a forgery or a loop; only the nearest are read.
MAX_HOPS = 20
IPV4_PREFIX_BITS = 24
IPV6_PREFIX_BITS = 48

_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
# Codes that proxies use for "unknown" and for the Tor network.
_NO_COUNTRY = {"XX", "T1", "ZZ"}
_FORWARDED_FOR = re.compile(r"""for=("?)(\[[^\]]*\]|[^";,\s:]+)(?::\d+)?\1""", re.IGNORECASE)
_FORWARDED_PROTO = re.compile(r'proto="?([a-z]+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """`ip_prefix` is a network such as `203.0.113.0/24`, empty when unknown; `country` two letters or empty."""

    ip_prefix: str
    is_https: bool
    country: str


def read_client(peer: str, scheme: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> Client:
    """The client of a request. `peer` and `scheme` are the connection's, `headers` have lower-case names."""
    if not trusted or not _is_trusted(peer, tuple(trusted)):
        return Client(ip_prefix(peer), scheme == "https", "")
    forwarded = headers.get("forwarded", "")
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    if not hops:
        hops = [match[2] for match in _FORWARDED_FOR.finditer(forwarded)]
    proto = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    if not proto and (match := _FORWARDED_PROTO.search(forwarded)):
        proto = match[1].lower()
    return Client(
        ip_prefix(_client_hop(peer, hops, tuple(trusted))),
        (proto or scheme) == "https",
        _country(headers.get("cf-ipcountry") or headers.get("x-country") or ""),
    )


@lru_cache(maxsize=8192)
def ip_prefix(address: str) -> str:
    """An address's network of 24 bits (IPv4) or 48 bits (IPv6) as text; empty for what is no address."""
    parsed = _address(address)
    if parsed is None:
        return ""
    bits = IPV4_PREFIX_BITS if parsed.version == 4 else IPV6_PREFIX_BITS
    return str(ipaddress.ip_network(f"{parsed}/{bits}", strict=False))


def _client_hop(peer: str, hops: Sequence[str], trusted: tuple[Network, ...]) -> str:
    """The rightmost hop that is not a proxy of ours; a hop that is no address ends the search."""
    client = peer
    for hop in reversed(hops[-MAX_HOPS:]):
        if _address(hop) is None:
            break
        client = hop
        if not _is_trusted(hop, trusted):
            break
    return client


@lru_cache(maxsize=8192)
def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(text: str) -> Address | None:
    """An address from `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`; None when it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


def _country(text: str) -> str:
    code = text.strip().upper()
    return code if _COUNTRY.fullmatch(code) and code not in _NO_COUNTRY else ""
