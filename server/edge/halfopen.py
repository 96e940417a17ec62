"""How many connections of an address are open without a welcome: half a handshake, a request under way, kept alive."""

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from server import limits

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class HalfOpen:
    """One per server. A connection leaves when it is lost, or when its socket has been welcomed."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._exempt: tuple[Network, ...] = ()

    def exempt(self, networks: Iterable[Network]) -> None:
        """Do not count the peers of these networks: proxies, each of which stands for many people."""
        self._exempt = tuple(networks)

    @classmethod
    def of(cls, server_state: Any) -> "HalfOpen":
        """The one that belongs to uvicorn's state of this server."""
        found: HalfOpen = vars(server_state).setdefault("half_open", cls())
        return found

    def take(self, peername: Any) -> str | None:
        """The address to leave later; None for one that is not counted. Raises TooManyOpen."""
        if not isinstance(peername, tuple) or _is_own(peername[0]) or self._is_exempt(peername[0]):
            return None
        address = network_of(peername[0])
        if self._open[address] >= limits.ADDRESS_HALF_OPEN_MAX:
            raise TooManyOpen
        self._open[address] += 1
        return address

    def _is_exempt(self, host: str) -> bool:
        address = _ip(host)
        return address is not None and any(address in network for network in self._exempt)

    def leave(self, address: str | None) -> None:
        if address is not None:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]


class TooManyOpen(Exception):
    """The address has as many as it may have."""


def network_of(host: str) -> str:
    """The peer's network: its IPv4 address, or the IPv6 /64 that one customer has (RFC 6177)."""
    address = _ip(host)
    if address is None or address.version == 4:
        return host if address is None else str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _is_own(host: str) -> bool:
    """Whether it is this machine: a proxy on it stands for many people, and has bounds of its own."""
    address = _ip(host)
    return address is None or address.is_loopback


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address; an IPv4 one also where it comes in IPv6's form, as to a listener of both."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if address.version == 6 else address
