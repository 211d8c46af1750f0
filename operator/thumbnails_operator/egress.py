"""Which addresses a webhook may be delivered to: pure, and asked about the very address of a connection.

A client chooses the URL, so it must not become a way into the operator's network (server-side
request forgery). Names are of no use for this: they resolve to what their owner likes, now and a
moment later. So the question is always about an address, when the socket is made.

Python's `ipaddress.is_global` alone does not answer it: it takes multicast, NAT64, 6to4 and some
reserved blocks for global, and changed between patch releases. Sources: the IANA registries of
special-purpose IPv4 and IPv6 addresses (RFC 6890), RFC 4291, RFC 6052, RFC 5214.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Everything that IANA does not call globally reachable, and what is but leads somewhere else.
_FORBIDDEN_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also pods and nodes of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host's own services on Azure, though a public address
        "169.254.0.0/16",  # link-local; metadata of nearly every cloud
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; metadata of one cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# IPv6 is the other way round: all of it is forbidden but global unicast, less these.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, with Teredo (IPv4 inside)
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: IPv4 inside, deprecated
        "3fff::/20",  # documentation
    )
)
# Networks without IPv4 reach all of it through this prefix, so here the address inside decides.
_NAT64: Final = IPv6Network("64:ff9b::/96")
# ISATAP: any prefix, then 0000:5efe or 0200:5efe, then an IPv4 address.
_ISATAP_MARKERS: Final = frozenset({0x00005EFE, 0x02005EFE})


def is_allowed(address: Address, allow: Iterable[Network] = ()) -> bool:
    """Whether a client may make us connect to `address`. `allow` is what the admin lists besides."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # no more than another spelling: the connection is one of IPv4
    inner = embedded_v4(address)
    if any(address in network or (inner is not None and inner in network) for network in allow):
        return True
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    if inner is not None:
        return _is_public_v4(inner) and (address in _NAT64 or _is_public_v6(address))
    return _is_public_v6(address)


def embedded_v4(address: Address) -> IPv4Address | None:
    """The IPv4 address within an IPv4-mapped, NAT64 (well-known prefix) or ISATAP address."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    number = int(address)
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP_MARKERS:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


def literal_address(host: str) -> Address | None:
    """The address that `host` spells out, or None for a name.

    Besides the usual forms these are the ones that `getaddrinfo` inherited from BSD's `inet_aton`:
    `2130706433`, `0x7f.1` and `0177.0.0.1` are all 127.0.0.1.
    """
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        pass  # perhaps one of the old forms
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _FORBIDDEN_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    return address in _GLOBAL_UNICAST and not any(address in network for network in _FORBIDDEN_V6)
