"""The sessions of a node: admit people, welcome them, and ask them to come back when the node drains."""

import asyncio
import contextlib
import functools
from collections.abc import Callable

from starlette.websockets import WebSocket

from protocol.closes import Close
from protocol.session import Notice
from protocol.wire import SUBPROTOCOLS, Codec
from server import limits
from server.edge.admission import Admission, Place, Places
from server.edge.asking import Asked, asked_of
from server.edge.balances import Balances
from server.edge.commands import Commands
from server.edge.crowd import Crowd
from server.edge.handshake import TAKEOVER
from server.edge.joining import Joining
from server.edge.liveness import AnyConnection, Wheel, alone
from server.edge.plain import PlainConnection
from server.edge.refusing import Crowded, NotAdmitted, refuse
from server.edge.socket import Connection
from server.edge.turns import Arrivals, Turns
from server.rooms.here import Rooms
from server.rooms.room import Member, Services


class Sessions:
    """Every connection of this node."""

    def __init__(self, *, services: Services, rooms: Rooms, balances: Balances, places: Places) -> None:
        self._admission = Admission(services, rooms, places)
        self._services = services
        self._balances = balances
        self.connections: dict[AnyConnection, Place] = {}
        self._wheel = Wheel(self.connections, services.clock, self._on_turn)
        self.commands = Commands()
        self.received, self.charge = self.commands.received, self.commands.charge  # called by sockets (Hub)
        self.draining = False
        self.turns = Turns()
        self.arrivals = Arrivals()
        self.crowd = Crowd()
        self.joining = Joining(services, balances, self.crowd)
        services.revocations.on_revoked = self._put_out

    async def start(self) -> None:
        self.commands.start()
        self.joining.start()
        self._wheel.start()

    async def stop(self) -> None:
        await self._wheel.stop()
        await self.joining.tasks.end()
        await self.commands.tasks.wait()

    def _on_turn(self) -> None:
        self.joining.replays.look(asyncio.get_running_loop().time())
        if self._balances.waiting:
            self.commands.tasks.spawn(self._balances.tell_reopened(self._services.wallet))

    # --- admission ---------------------------------------------------------------------------------------------
    async def endpoint(self, websocket: WebSocket) -> None:
        """The route `/v1/rooms/{room_id}/ws`: refuse over HTTP, or accept, take over and welcome."""
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                admitted = await self._admission.check(asked := asked_of(websocket), full=self._full())
        except NotAdmitted as no:
            await refuse(websocket, no, self)
            return
        except TimeoutError:
            await refuse(websocket, NotAdmitted(503, "unavailable", "The room store does not answer.", 1), self)
            return
        connection: AnyConnection | None = None
        try:
            chosen = asked.chosen
            await websocket.accept(subprotocol=chosen)
            codec = SUBPROTOCOLS[chosen] if chosen else "json"
            take_over = websocket.scope.get("extensions", {}).get(TAKEOVER)
            connection = take_over(self, codec) if take_over else PlainConnection(self, websocket, codec)
        finally:
            if connection is None or connection.closing:
                admitted.place.leave()
        if connection.closing:
            if isinstance(connection, Connection) and not connection.transport.is_closing():  # too much came early
                self._admission.note_flood(admitted.claims.sub, admitted.address)
            return
        self.connections[connection] = admitted.place
        if isinstance(connection, PlainConnection):
            await connection.run(functools.partial(self.joining.join, connection, admitted))
        else:
            await self.joining.join(connection, admitted)
            connection.listen()

    def enter(self, asked: Asked, take_over: Callable[[Codec], Connection]) -> bool:
        """Admit somebody without waiting: whom `take_over` makes a connection. False if anything is in the way.

        `endpoint` then finds the same, waits for what must be waited for, and says what is wrong. Raises Crowded.
        """
        try:
            admitted = self._admission.check_now(asked, self._full())
        except Crowded:
            raise
        except NotAdmitted:
            return False
        if admitted is None:
            return False
        connection = take_over(SUBPROTOCOLS[asked.chosen] if asked.chosen else "json")
        self.connections[connection] = admitted.place
        self.joining.begin(connection, admitted)
        return True

    async def unknown(self, websocket: WebSocket) -> None:
        """The route of every other websocket address."""
        await refuse(websocket, NotAdmitted(404, "not_found", "There is no such address."), self)

    def _full(self) -> NotAdmitted | None:
        """Why nobody is let in now."""
        if self.draining or len(self.connections) >= limits.CONNECTIONS_MAX:
            reason = "draining" if self.draining else "full"
            return NotAdmitted(503, reason, "Come back soon.", limits.RETRY_AFTER_S)
        away_s = self.crowd.stay_away_s(
            self.joining.under_way, asyncio.get_running_loop().time(), self.arrivals.waiting
        )
        return None if away_s is None else Crowded(away_s)

    # --- called by sockets (Hub) -------------------------------------------------------------------------------
    def writable(self, connection: AnyConnection) -> None:
        if connection.member is not None:
            connection.member.room.outbox.catch_up(connection.member)

    def blamed(self, connection: AnyConnection) -> None:
        """Note that this socket is being closed for what its peer sent."""
        member: Member | None = connection.member
        if member is not None:
            note = self._admission.note_flood if member.allowance.flooded else self._admission.note_bad_frames
            note(member.user_id, connection.address)

    def lost(self, connection: AnyConnection) -> None:
        if (place := self.connections.pop(connection, None)) is not None:
            place.leave()
        member: Member | None = connection.member
        if member is None:
            return
        member.room.remove(member)
        self._balances.forget(member)
        connection.member = None  # which names the connection: neither is left to the garbage collector

    def _put_out(self, user_id: str) -> None:
        """Close the sockets of whom tokens were revoked, unless a newer token keeps them."""
        for member in self._balances.of(user_id):
            if member.revoked:
                member.sink.close(Close.TOKEN_REVOKED)

    # --- ending ------------------------------------------------------------------------------------------------
    async def drain(self) -> None:
        """Refuse newcomers, ask everybody to come back, spread over DRAIN_SPREAD_MS, and finish what is under way."""
        self.draining = True
        connections = list(self.connections)
        spread_ms = min(limits.DRAIN_SPREAD_MS, len(connections))
        for number, connection in enumerate(connections):
            if connection.member is not None and not connection.closing:
                wait_ms = number * spread_ms // max(1, len(connections))
                connection.send(alone(connection.codec, Notice(kind="draining", reconnect_in_ms=wait_ms)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.DRAIN_S_MAX / 2):
                await self.commands.tasks.wait()
        for start in range(0, len(connections), limits.FLUSH_CHUNK):
            for connection in connections[start : start + limits.FLUSH_CHUNK]:
                connection.close(Close.DRAINING)
            await asyncio.sleep(spread_ms / 1000 * limits.FLUSH_CHUNK / max(len(connections), limits.FLUSH_CHUNK))
