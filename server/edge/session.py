"""The sessions of a node: admit people, welcome them, and ask them to come back when the node drains."""

import asyncio
import contextlib
import functools
from collections.abc import Callable

import structlog
from msgspec import Raw
from starlette.websockets import WebSocket

from protocol.closes import Close
from protocol.session import Notice, Welcome, You
from protocol.wire import SUBPROTOCOLS, Codec
from server import background, limits
from server.edge.admission import Admission, Admitted, Place, Places, Since
from server.edge.asking import Asked, asked_of
from server.edge.balances import Balances
from server.edge.commands import Commands
from server.edge.handshake import TAKEOVER
from server.edge.liveness import AnyConnection, Wheel, alone
from server.edge.plain import PlainConnection
from server.edge.refusing import NotAdmitted, close_of, refuse
from server.edge.socket import Connection
from server.edge.turns import Turns
from server.journal.people import FOREVER_MS
from server.rooms.frames import encode_message
from server.rooms.here import Rooms
from server.rooms.history import NoSuchRoom, Recorded
from server.rooms.newest import newest_chats
from server.rooms.replay import again
from server.rooms.room import Member, Room, Services
from server.store.client import StoreError

log = structlog.get_logger()


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
        self.joins = 0
        self.turns = Turns()
        self._entering = background.Tasks("join")

    async def start(self) -> None:
        self.commands.start()
        self._wheel.start()

    async def stop(self) -> None:
        await self._wheel.stop()
        await self._entering.end()
        await self.commands.tasks.wait()

    def _on_turn(self) -> None:
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
            await connection.run(functools.partial(self._join, connection, admitted))
        else:
            await self._join_and_listen(connection, admitted)

    def enter(self, asked: Asked, take_over: Callable[[Codec], Connection]) -> bool:
        """Admit somebody without waiting: whom `take_over` makes a connection. False if anything is in the way.

        `endpoint` then finds the same, waits for what must be waited for, and says what is wrong.
        """
        try:
            admitted = self._admission.check_now(asked, self._full())
        except NotAdmitted:
            return False
        if admitted is None:
            return False
        connection = take_over(SUBPROTOCOLS[asked.chosen] if asked.chosen else "json")
        self.connections[connection] = admitted.place
        self._entering.spawn(self._join_and_listen(connection, admitted))
        return True

    async def _join_and_listen(self, connection: Connection, admitted: Admitted) -> None:
        await self._join(connection, admitted)
        connection.listen()

    async def unknown(self, websocket: WebSocket) -> None:
        """The route of every other websocket address."""
        await refuse(websocket, NotAdmitted(404, "not_found", "There is no such address."), self)

    def _full(self) -> str | None:
        if self.draining:
            return "draining"
        return "full" if len(self.connections) >= limits.CONNECTIONS_MAX else None

    # --- joining -----------------------------------------------------------------------------------------------
    async def _join(self, connection: AnyConnection, admitted: Admitted) -> None:
        if connection.closing:  # lost or drained before this began: `lost` knew no member to forget
            return
        room = admitted.room
        connection.member = member = Member(room, connection, admitted.claims)
        connection.address = admitted.address
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                await self._welcome(connection, member, admitted, room)
        except NoSuchRoom:  # deleted since it was admitted
            connection.close(Close.NO_SUCH_ROOM)
        except (StoreError, TimeoutError):
            connection.close(*close_of(NotAdmitted(503, "unavailable", "The room store is away.", 1)))
        except Exception:
            log.exception("join_failed", room=room.id)
            connection.close(Close.INTERNAL)

    async def _welcome(self, connection: AnyConnection, member: Member, admitted: Admitted, room: Room) -> None:
        """Welcome the member. Nothing may await between the last look at the room's position and `add`."""
        since = admitted.since
        self._balances.expect(member)
        coins = None
        if member.role != "overlay":
            coins = await self._services.wallet.coins(member.user_id)
        same_epoch = since is not None and since.epoch == room.epoch
        shown = await room.snapshot(at_least=since.seq if since and same_epoch else 0)
        missed: list[Recorded] | None
        if since is None:
            missed = await newest_chats(room, admitted.chats, shown.seq)
        else:
            missed = await self._missed(room, since, shown.seq) if same_epoch else None
        behind: list[Recorded] = []
        if since is not None and missed is None:
            behind = await again(room, since.epoch, since.seq, shown.seq, admitted.chats)
        if room.gone or connection.closing:
            connection.close(Close.ROOM_RESTARTS)
            return
        if room.outbox.after(shown.seq, room.outbox.flushed) is None:  # meanwhile a whole ring of events has passed
            connection.close(Close.SLOW_READER)
            return
        now_ms = self._services.clock.now_ms()
        if room.people.banned_until_ms(member.user_id, now_ms) is not None:  # since the admission
            connection.close(Close.BANNED)
            return
        muted_ms = room.people.muted_until_ms(member.user_id, room.about.broadcast_id, now_ms)
        member.welcomed = True
        coins = coins if member.late_coins is None else member.late_coins
        gap = None
        if since is not None and missed is None:
            first = since.seq + 1 if same_epoch and since.seq < shown.seq else 1
            gap = {"from": first, "to": shown.seq}
        welcome = Welcome(
            protocol=1,
            epoch=room.epoch,
            seq=shown.seq,
            resumed=since is not None and missed is not None,
            gap=gap,
            you=You(
                user_id=member.user_id,
                name=member.name,
                role=member.role,
                coins=coins,
                muted=muted_ms is not None,
                muted_until_ms=None if muted_ms == FOREVER_MS else muted_ms,
                member_id=self._services.clock.new_id(),
            ),
            room=Raw(shown.bytes_in(connection.codec)),
            heartbeat_s=limits.HEARTBEAT_S,
            server_time_ms=now_ms,
            replays=len(behind),
        )
        room.outbox.greet(member, encode_message(connection.codec, welcome), shown.seq, missed or behind)
        self.joins += 1
        if coins is None and member.role != "overlay":
            self._balances.waiting.add(member)
        room.add(member)

    async def _missed(self, room: Room, since: Since, seq: int) -> list[Recorded] | None:
        """All events after `since` up to `seq`, or None if they are too many. From the ring, else the history."""
        if since.seq > seq or seq - since.seq > limits.REPLAY_EVENTS_MAX:
            return None
        events = room.outbox.after(since.seq, seq)
        if events is None:
            events = await self._services.history.read(room.id, since.seq, seq)
        return None if events and sum(len(event.json) for event in events) > limits.REPLAY_BYTES_MAX else events

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
