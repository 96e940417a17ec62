"""A wire between us and a store that loses or delays what a test chooses: a request, a reply, or everything."""

import asyncio
from pathlib import Path
from typing import cast


class LossyWire:
    """A unix socket in front of a store's. It passes everything until a test says otherwise."""

    def __init__(self, path: Path, store: Path) -> None:
        self.path = path
        self.store = store
        self.held = False
        self.silent = False
        self.joints: set[_Joint] = set()
        self._server: asyncio.Server | None = None
        self._word = b""
        self._lose = ""

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Joint(self), self.path)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        connecting = [joint.connecting for joint in self.joints if joint.connecting is not None]
        for joint in tuple(self.joints):
            joint.cut()
        await asyncio.gather(*connecting, return_exceptions=True)

    def lose_request(self, word: str) -> None:
        """The next request with this word never reaches the store: its connection ends instead."""
        self._lose, self._word = "request", word.encode()

    def lose_reply(self, word: str) -> None:
        """The next request with this word is carried out, but its connection ends instead of a reply."""
        self._lose, self._word = "reply", word.encode()

    def swallow(self, word: str) -> None:
        """The next request with this word disappears, and its connection goes on."""
        self._lose, self._word = "word", word.encode()

    def silence(self) -> None:
        """The store's host is suddenly gone: nothing passes and nothing ends, on new connections too."""
        self.silent = True
        self.silence_links()

    def silence_links(self, word: str = "") -> None:
        """The same for existing connections, or only for those that have sent this word."""
        for joint in self.joints:
            joint.silent = joint.silent or word.encode() in joint.said

    def heal(self) -> None:
        """New connections work; silenced ones stay silent."""
        self.silent = False

    @property
    def lost(self) -> bool:
        """Has the wire lost what it was told to lose?"""
        return not self._lose

    def loses(self, request: bytes) -> str:
        """What to lose: `request` or `reply` (and the connection), only the `word`, or nothing."""
        if not self._lose or self._word not in request:
            return ""
        lose, self._lose = self._lose, ""
        return lose

    def hold(self) -> None:
        """Hold replies back until `release`."""
        self.held = True

    def release(self) -> None:
        self.held = False
        for joint in tuple(self.joints):
            joint.pass_replies()


class _Joint(asyncio.Protocol):
    """A connection from us, and the connection to the store behind it."""

    def __init__(self, wire: LossyWire) -> None:
        self._wire = wire
        self._near: asyncio.Transport | None = None
        self._far: asyncio.Transport | None = None
        self._requests = b""
        self._replies = b""
        self._reply_is_lost = False
        self.silent = wire.silent
        self.said = b""
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._near = cast(asyncio.Transport, transport)
        self._wire.joints.add(self)
        self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            far, _ = await asyncio.get_running_loop().create_unix_connection(lambda: _Far(self), self._wire.store)
        except OSError:  # the store is away, so this side closes, too
            self.cut()
            return
        self._far = far
        if self._near is None or self._near.is_closing():
            far.abort()
        far.write(self._requests)

    def data_received(self, data: bytes) -> None:
        if self.silent:
            return
        self.said += data
        lost = self._wire.loses(data)
        if lost == "word":
            return
        if lost == "request":
            self.cut()
            return
        self._reply_is_lost = self._reply_is_lost or lost == "reply"
        if self._far is None:
            self._requests += data
        else:
            self._far.write(data)

    def replied(self, data: bytes) -> None:
        self._replies += data
        self.pass_replies()

    def pass_replies(self) -> None:
        if self._wire.held or self.silent or not self._replies or self._near is None:
            return
        if self._reply_is_lost:
            self.cut()
            return
        self._near.write(self._replies)
        self._replies = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.joints.discard(self)
        self.cut()

    def cut(self) -> None:
        for transport in (self._near, self._far):
            if transport is not None:
                transport.abort()


class _Far(asyncio.Protocol):
    """The store's end."""

    def __init__(self, joint: _Joint) -> None:
        self._joint = joint

    def data_received(self, data: bytes) -> None:
        self._joint.replied(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._joint.cut()
