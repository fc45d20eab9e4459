"""Which address a request came from, when proxies may stand between. Pure.

`X-Forwarded-For` is what each proxy was told and the address that it saw, the nearest last. Anybody can send the header, so it
is read from its end, and only as far as the addresses are those of proxies that the settings trust.
"""

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PREFIX_BITS = 64  # of IPv6 that one subscriber has all of (RFC 6177, 2): a limit by single addresses would be none
UNKNOWN = "unknown"


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks, written as `10.0.0.0/8` or as an address alone. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def client_address(peer: str | None, forwarded: bytes | None, trusted: Sequence[Network]) -> Address | None:
    """The address of a client; None when that is not known.

    `peer` is the address that the connection came from, `forwarded` the value of X-Forwarded-For.
    """
    address = _parse(peer)
    hops = [] if forwarded is None else forwarded.decode("latin-1").split(",")
    while hops and any(address in network for network in trusted if address is not None):
        if (hop := _parse(hops.pop())) is None:
            break  # that proxy passed on what is no address: its requests count under its own
        address = hop
    return address


def limited_address(peer: str | None, forwarded: bytes | None, trusted: Sequence[Network]) -> str:
    """The name to count the requests of a client under: its IPv4 address, or the network of its IPv6 address.

    For the arguments see `client_address`.
    """
    address = client_address(peer, forwarded, trusted)
    if address is None:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _PREFIX_BITS), strict=False))
    return str(address)


def _parse(text: str | None) -> Address | None:
    """The address, perhaps with a port as some proxies write it; IPv4 in IPv6 is IPv4."""
    if text is None:
        return None
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
