"""How many connections of an address are open without a welcome: half a handshake, a request under way, kept alive."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from server import limits
from server.edge.proxies import network_of, parsed
from server.settings import Network


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
        address = parsed(host)
        return address is not None and any(address in network for network in self._exempt)

    def leave(self, address: str | None) -> None:
        if address is not None:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]


class TooManyOpen(Exception):
    """The address has as many as it may have."""


def _is_own(host: str) -> bool:
    """Whether it is this machine: a proxy on it stands for many people, and has bounds of its own."""
    if host.startswith("127."):  # what the kernel says is always an address, and to parse one costs more
        return True
    address = parsed(host)
    return address is None or address.is_loopback
