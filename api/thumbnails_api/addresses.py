"""Which address a request comes from, also behind proxies: for limits of those that nobody knows."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_CUSTOMER_BITS = 64


def parse_networks(text: str) -> tuple[Network, ...]:
    """CIDRs with commas or spaces between. Raises ValueError."""
    try:
        return tuple(ipaddress.ip_network(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise ValueError("must be networks like 10.0.0.0/8, with commas between") from None


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address to count by: the peer's, or what trusted proxies say in `X-Forwarded-For`.

    Each proxy adds the address that it sees at the end; what stands before an address of somebody that is not
    trusted is that one's own claim. Of IPv6 it is the network of 64 bits that one customer has.
    """
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    address = _parse(peer)
    while address is not None and hops and any(address in network for network in trusted):
        before = _parse(hops.pop())
        if before is None:
            break
        address = before
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_CUSTOMER_BITS), strict=False))
    return str(address)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
