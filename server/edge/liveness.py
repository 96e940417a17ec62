"""Checks that peers are still there: heartbeats, pings, silence, tokens that expire."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from protocol.closes import Close
from protocol.session import Heartbeat
from protocol.wire import SUBPROTOCOLS, Codec
from server import background, limits
from server.clock import Clock
from server.edge.plain import PlainConnection
from server.edge.socket import Connection
from server.rooms.frames import Prepared, encode_message, join_messages

AnyConnection: TypeAlias = Connection | PlainConnection


class Wheel:
    """One timer for all sockets of a node. It calls `on_turn` at each turn."""

    def __init__(self, connections: Collection[AnyConnection], clock: Clock, on_turn: Callable[[], None]) -> None:
        self._connections = connections
        self._clock = clock
        self._on_turn = on_turn
        self._beat = {codec: alone(codec, Heartbeat()) for codec in SUBPROTOCOLS.values()}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.forever("wheel", self.turn)

    async def stop(self) -> None:
        await background.end(self._task)

    async def turn(self, every_s: float | None = None) -> None:
        """Check all sockets every WHEEL_S: heartbeats, pings, silence, tokens that expire."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep((limits.WHEEL_S if every_s is None else every_s) - (loop.time() - began))
            for _ in range(2):  # after a halt: what came meanwhile is read before anybody is judged
                await asyncio.sleep(0)
            began = loop.time()
            self._on_turn()
            await self._look_at_all(loop)

    async def _look_at_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check each socket. A call of its own: between two turns nothing may hold the last socket, and so its room."""
        now_s = self._clock.now_ms() / 1000
        for number, connection in enumerate(tuple(self._connections)):
            if number % limits.FLUSH_CHUNK == limits.FLUSH_CHUNK - 1:
                await asyncio.sleep(0)
            try:
                self.look_at(connection, now_s, loop.time())
            except Exception as error:  # one faulty socket must not stop the check of the others
                background.failed("wheel", error)

    def look_at(self, connection: AnyConnection, now_s: float, now: float) -> None:
        """Check one socket. `now_s` is the wall clock, for its token; `now` is the loop's time, for everything else."""
        if connection.closing or connection.member is None:
            return
        if connection.sent:
            connection.sent, connection.sent_at = False, now
        silent_s = now - connection.heard_at
        if now_s >= connection.member.expires_s:
            connection.close(Close.TOKEN_EXPIRED)
        elif connection.paused and connection.stalled(now):
            connection.close(Close.SLOW_READER)
        elif silent_s >= limits.UNRESPONSIVE_S:
            connection.close(Close.UNRESPONSIVE)
        else:
            self._keep_alive(connection, now)

    def _keep_alive(self, connection: AnyConnection, now: float) -> None:
        """Send a heartbeat or a ping if the time for it would be over at the next look."""
        early_s = limits.HEARTBEAT_S - limits.WHEEL_S
        if now - connection.sent_at >= early_s:
            connection.send(self._beat[connection.codec])
            connection.sent_at = now
        if now - max(connection.heard_at, connection.pinged_at) >= early_s:
            connection.ping()
            connection.pinged_at = now


def alone(codec: Codec, message: Any) -> Prepared:
    """A frame with one message."""
    return Prepared(codec, join_messages(codec, [encode_message(codec, message)]))
