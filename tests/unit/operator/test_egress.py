"""Which addresses a client may make the operator connect to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnails_operator.egress import embedded_v4, is_allowed, literal_address

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "64:ff9b::808:808",  # NAT64 of 8.8.8.8: how a network without IPv4 reaches it
    "::ffff:8.8.8.8",
]
FORBIDDEN = [
    # this host
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.254",
    "::",
    "::1",
    # private, shared and link-local networks
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "febf::1",
    "fec0::1",
    # metadata of clouds
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    # multicast, broadcast, reserved
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    "ff02::1",
    "ff0e::1",
    "192.0.0.9",
    "192.88.99.1",
    # documentation, benchmarks, discard
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "198.19.255.255",
    "2001:db8::1",
    "3fff::1",
    "2001:2::1",
    "100::1",
    "5f00::1",
    # IPv4 in IPv6: mapped, compatible, translated, NAT64, local NAT64, 6to4, Teredo, ISATAP
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "64:ff9b:1:ffff::808:808",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2001::1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:192.168.0.1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(ip_address(text))


@pytest.mark.parametrize("text", FORBIDDEN)
def test_addresses_of_no_public_host_are_forbidden(text: str) -> None:
    assert not is_allowed(ip_address(text))


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("127.0.0.0/8", "127.0.0.1", "10.0.0.1"),
        ("10.1.0.0/16", "10.1.2.3", "10.2.0.1"),
        ("10.1.0.0/16", "::ffff:10.1.2.3", "::ffff:10.2.0.1"),
        ("10.1.0.0/16", "64:ff9b::a01:203", "64:ff9b::a02:1"),
        ("fd00::/8", "fd12::1", "fc12::1"),
        ("::1/128", "::1", "::2"),
        ("64:ff9b:1::/48", "64:ff9b:1::a00:1", "64:ff9b:2::a00:1"),
    ],
)
def test_the_admin_can_list_networks_that_are_allowed_too(network: str, inside: str, outside: str) -> None:
    allow = (ip_network(network),)
    assert is_allowed(ip_address(inside), allow)
    assert not is_allowed(ip_address(outside), allow)


def test_listing_a_network_of_ipv6_does_not_open_ipv4_by_another_spelling() -> None:
    assert not is_allowed(ip_address("::ffff:127.0.0.1"), (ip_network("::/0"),))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_however_it_is_written(address: IPv4Address) -> None:
    verdict = is_allowed(address)
    assert is_allowed(IPv6Address(f"::ffff:{address}")) == verdict
    assert is_allowed(IPv6Address(f"64:ff9b::{address}")) == verdict
    assert is_allowed(IPv6Address(f"2606:4700::5efe:{address}")) == verdict


@given(st.ip_addresses())
def test_nothing_private_is_ever_allowed(address: IPv4Address | IPv6Address) -> None:
    inner = embedded_v4(address) or address
    if inner.is_private or inner.is_loopback or inner.is_multicast or inner.is_link_local:
        assert not is_allowed(address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("8.8.8.8", "8.8.8.8"),
    ],
)
def test_every_spelling_of_an_address_is_known(host: str, address: str) -> None:
    assert literal_address(host) == ip_address(address)


@pytest.mark.parametrize(
    "host", ["example.com", "localhost", "1.example", "127.0.0.1.nip.io", "a", "", "ü.example"]
)
def test_names_are_no_addresses(host: str) -> None:
    assert literal_address(host) is None
