"""Under which address a request is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rest.addresses import limited_address, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param("203.0.113.9", None, "203.0.113.9", id="direct"),
        pytest.param("203.0.113.9", "198.51.100.1", "203.0.113.9", id="of-a-stranger"),
        pytest.param("127.0.0.1", None, "127.0.0.1", id="proxy-without-the-header"),
        pytest.param("127.0.0.1", "198.51.100.1", "198.51.100.1", id="one-proxy"),
        pytest.param("127.0.0.1", "198.51.100.1, 10.1.2.3", "198.51.100.1", id="two-proxies"),
        pytest.param("127.0.0.1", "1.2.3.4, 198.51.100.1, 10.1.2.3", "198.51.100.1", id="forged-before"),
        pytest.param("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9", id="client-within"),
        pytest.param("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1", id="no-address"),
        pytest.param("127.0.0.1", "198.51.100.1, unknown, 10.1.2.3", "10.1.2.3", id="no-address-further-on"),
        pytest.param("127.0.0.1", "", "127.0.0.1", id="empty"),
        pytest.param("127.0.0.1", "198.51.100.1:4711", "198.51.100.1", id="with-a-port"),
        pytest.param("127.0.0.1", "[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64", id="ipv6-with-a-port"),
        pytest.param("127.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="ipv6"),
        pytest.param("2001:db8:1:2::1", None, "2001:db8:1:2::/64", id="ipv6-direct"),
        pytest.param("::ffff:203.0.113.9", None, "203.0.113.9", id="ipv4-in-ipv6"),
        pytest.param("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1", id="proxy-in-ipv6"),
        pytest.param("fe80::1%eth0", None, "fe80::/64", id="with-a-zone"),
        pytest.param(None, "198.51.100.1", "unknown", id="unix-socket"),
        pytest.param("", None, "unknown", id="no-peer"),
    ],
)
def test_addresses(peer: str | None, forwarded: str | None, expected: str) -> None:
    assert limited_address(peer, None if forwarded is None else forwarded.encode(), TRUSTED) == expected


def test_nothing_is_trusted_unless_said() -> None:
    assert limited_address("127.0.0.1", b"198.51.100.1", ()) == "127.0.0.1"


@given(st.binary(max_size=100))
def test_any_header_gives_a_name(forwarded: bytes) -> None:
    assert limited_address("127.0.0.1", forwarded, TRUSTED)


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/8", "10.0.0.0/33", "1.2.3"])
def test_networks_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the library's words)
        parse_networks([text])
