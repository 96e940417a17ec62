"""A wire between a client and a node that stalls, delays and breaks on command; it never changes a byte."""

import asyncio
from collections.abc import Callable
from typing import Literal, cast

Direction = Literal["up", "down"]  # to the node, to the client


class UnsteadyWire:
    """A port in front of a node's. Each new connection goes to the port that `target` returns."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.target = target
        self.port = 0
        self.delay_s = 0.0  # per direction, for new connections
        self.refusing = 0  # this many new connections end at once
        self.held: set[Direction] = set()
        self.fuses: dict[Direction, int] = {}  # the connection breaks after this many bytes, even within a frame
        self.links: set[_Link] = set()
        self.broken = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(_Link(self), "up"), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        connecting = [link.connecting for link in self.links if link.connecting is not None]
        self.cut()
        await asyncio.gather(*connecting, return_exceptions=True)

    def cut(self) -> None:
        """Break all open connections."""
        for link in tuple(self.links):
            link.cut()

    def hold(self, direction: Direction) -> None:
        """Let nothing pass in this direction until `let_go`."""
        self.held.add(direction)

    def let_go(self) -> None:
        self.held.clear()
        for link in tuple(self.links):
            link.carry("up")
            link.carry("down")

    def heal(self) -> None:
        """Work without faults from now on."""
        self.delay_s, self.refusing = 0.0, 0
        self.fuses.clear()
        self.let_go()


class _Link:
    """One connection of a client and its connection to the node."""

    def __init__(self, wire: UnsteadyWire) -> None:
        self._wire = wire
        self._delay_s = wire.delay_s
        self._ends: dict[Direction, asyncio.Transport] = {}  # by the direction of the bytes that come from there
        self._waiting: dict[Direction, bytes] = {"up": b"", "down": b""}
        self.connecting: asyncio.Task[None] | None = None

    def opened(self, direction: Direction, transport: asyncio.Transport) -> None:
        self._ends[direction] = transport
        if direction == "down":
            self.carry("up")
            return
        self._wire.links.add(self)
        if self._wire.refusing:
            self._wire.refusing -= 1
            self.cut()
        else:
            self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        far, _ = await loop.create_connection(lambda: _End(self, "down"), "127.0.0.1", self._wire.target())
        if self not in self._wire.links:  # cut in the meantime
            far.abort()

    def carry(self, direction: Direction, data: bytes = b"") -> None:
        """Pass on what waits and these bytes, as far as the wire allows."""
        data, self._waiting[direction] = self._waiting[direction] + data, b""
        to = self._ends.get("down" if direction == "up" else "up")
        if to is None or direction in self._wire.held:
            self._waiting[direction] = data
            return
        fuse = self._wire.fuses.get(direction)
        if fuse is not None and data:
            self._wire.fuses[direction] = fuse - len(data)
            if fuse <= len(data):
                del self._wire.fuses[direction]
                to.write(data[:fuse])
                to.close()  # part of a frame arrives, then the connection ends
                self.cut(besides=to)
                return
        if data and self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, to.write, data)
        elif data:
            to.write(data)

    def cut(self, besides: asyncio.Transport | None = None) -> None:
        if self in self._wire.links:
            self._wire.links.discard(self)
            self._wire.broken += 1
        for transport in self._ends.values():
            if transport is not besides:
                transport.abort()


class _End(asyncio.Protocol):
    """One end of a link."""

    def __init__(self, link: _Link, direction: Direction) -> None:
        self._link = link
        self._direction = direction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.opened(self._direction, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._link.carry(self._direction, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.cut()
