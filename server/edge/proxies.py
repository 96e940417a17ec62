"""Whose connection it is: the address that trusted proxies report, which nobody else can choose."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from server.settings import Network

log = structlog.get_logger()
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The proxies that are trusted.

    A peer without an address is a unix socket's, which only this machine can open: it is trusted, too.
    """

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted
        self._said = False

    def client(self, peer: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, int] | None:
        """The person whose request this is: the rightmost address that no trusted proxy has.

        Left of an entry that is not valid, anything may stand.
        """
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        if not values:
            return peer
        forwarded = b",".join(values).decode("latin-1")
        if peer is not None and not self._trusts(parsed(peer[0])):
            self._ignored(peer[0])
            return peer
        client = peer
        for entry in reversed(forwarded.split(",")):
            address = parsed(without_port(entry.strip()))
            if address is None:
                break
            client = (str(address), 0)
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)

    def _ignored(self, peer: str) -> None:
        """Say it once: perhaps a proxy is not named, and then all its people share one address."""
        if not self._said:
            self._said = True
            log.warning("forwarded_for_ignored", peer=peer, setting="LIVEROOM_TRUSTED_PROXIES")


class Forwarded:
    """ASGI middleware: `scope["client"]` is the person, not the proxy."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope["client"] = self._proxies.client(scope.get("client"), scope["headers"])
        await self._app(scope, receive, send)


def without_port(entry: str) -> str:
    """An entry of X-Forwarded-For without the port that some proxies add: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, _, port = entry.rpartition(":")
    return host if "." in host and ":" not in host and port.isdecimal() else entry


def parsed(text: str) -> Address | None:
    """An address; an IPv4 address within IPv6 is unwrapped. None when it is not one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def network_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the IPv6 /64 that one customer has (RFC 6177)."""
    address = parsed(host)
    if address is None:
        return host
    return str(address) if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
