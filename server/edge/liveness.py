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
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = background.forever("wheel", self.turn)

    async def stop(self) -> None:
        await background.end(self._task)

    async def turn(self) -> None:
        """Check all sockets every WHEEL_S: heartbeats, pings, silence, tokens that expire."""
        beat = {codec: alone(codec, Heartbeat()) for codec in SUBPROTOCOLS.values()}
        turn = 0
        while True:
            await asyncio.sleep(limits.WHEEL_S)
            turn += 1
            self._on_turn()
            now_s = self._clock.now_ms() / 1000
            for number, connection in enumerate(tuple(self._connections)):
                if number % limits.FLUSH_CHUNK == limits.FLUSH_CHUNK - 1:
                    await asyncio.sleep(0)
                try:
                    self._look_at(connection, now_s, turn, beat)
                except Exception as error:  # one faulty socket must not stop the check of the others
                    background.failed("wheel", error)

    def _look_at(self, connection: AnyConnection, now_s: float, turn: int, beat: dict[Codec, Prepared]) -> None:
        if connection.closing or connection.member is None:
            return
        connection.silent = 0 if connection.heard else connection.silent + 1
        connection.quiet = 0 if connection.sent else connection.quiet + 1
        connection.heard = connection.sent = False
        if now_s >= connection.member.expires_s:
            connection.close(Close.TOKEN_EXPIRED)
        elif connection.paused and connection.stalled(asyncio.get_running_loop().time()):
            connection.close(Close.SLOW_READER)
        elif connection.silent * limits.WHEEL_S >= limits.UNRESPONSIVE_S:
            connection.close(Close.UNRESPONSIVE)
        elif (connection.quiet + 1) * limits.WHEEL_S >= limits.HEARTBEAT_S:
            connection.send(beat[connection.codec])
            connection.ping()
        elif connection.silent and turn % (limits.HEARTBEAT_S // limits.WHEEL_S) == 0:
            connection.ping()


def alone(codec: Codec, message: Any) -> Prepared:
    """A frame with one message."""
    return Prepared(codec, join_messages(codec, [encode_message(codec, message)]))
