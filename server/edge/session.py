"""Who is at the other end: admission, welcome, carrying out commands. The one place that turns errors into bytes."""

import asyncio
import contextlib
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
import structlog
from msgspec import Raw, Struct
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

import protocol
from protocol import BadCommand, Malformed
from protocol.closes import Close, Closed
from protocol.refusals import Refusal, Refused
from protocol.session import Cause, Heartbeat, Notice, WalletChanged, Welcome, You
from protocol.wire import SUBPROTOCOLS, Codec, Command, Ok
from server import limits
from server.edge.admission import Admission, Admitted, NotAdmitted, Place, Places, Since
from server.edge.plain import PlainConnection, deny
from server.edge.socket import TAKEOVER, Connection
from server.money.results import Change
from server.rooms.frames import TEXT, Prepared, encode_message, encoded, encoded_replayed, join_messages
from server.rooms.history import NoSuchRoom, Recorded
from server.rooms.registry import HANDLERS
from server.rooms.room import Member, Room, Rooms, Services, role_in
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class WalletNews(Struct, frozen=True):
    """Balances that changed on a node, for the others."""

    node: str
    changes: list[Change]


AnyConnection: TypeAlias = Connection | PlainConnection
_WALLET_NEWS = msgspec.json.Decoder(WalletNews)


class Sessions:
    """Every connection of this node."""

    def __init__(self, *, services: Services, rooms: Rooms, room_store: Store | ClusterStore, places: Places) -> None:
        self._admission = Admission(services, rooms, places)
        self._services = services
        self._room_store = room_store
        self._by_user: dict[str, tuple[Member, ...]] = {}  # a set would take 200 bytes for mostly one
        self._without_coins: set[Member] = set()  # welcomed while the wallet store was away
        self._tasks: set[asyncio.Task[None]] = set()
        self._wheel: asyncio.Task[None] | None = None
        self.connections: dict[AnyConnection, Place] = {}
        self.draining = False
        self.joins = 0
        self.commands = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()  # kept: until Python 3.12 each look for it is a system call, getpid
        self._wheel = self._loop.create_task(self._turn_wheel(), name="wheel")

    async def stop(self) -> None:
        if self._wheel is not None:
            self._wheel.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._wheel
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- admission ---------------------------------------------------------------------------------------------
    async def endpoint(self, websocket: WebSocket) -> None:
        """The route `/v1/rooms/{room_id}/ws`: refuse as HTTP, or accept, take over and welcome."""
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                admitted = await self._admission.check(websocket, full=self._full())
        except NotAdmitted as no:
            headers = {"Retry-After": str(no.retry_after_s)} if no.retry_after_s else None
            body = {"error": {"reason": no.reason, "message": no.message}}
            await deny(websocket, JSONResponse(body, no.status, headers))
            return
        except TimeoutError:
            body = {"error": {"reason": "unavailable", "message": "The room store does not answer."}}
            await deny(websocket, JSONResponse(body, 503, {"Retry-After": "1"}))
            return
        connection: AnyConnection | None = None
        try:
            chosen = next((name for name in websocket.scope["subprotocols"] if name in SUBPROTOCOLS), None)
            await websocket.accept(subprotocol=chosen)
            codec = SUBPROTOCOLS[chosen] if chosen else "json"
            take_over = websocket.scope.get("extensions", {}).get(TAKEOVER)
            connection = take_over(self, codec) if take_over else PlainConnection(self, websocket, codec)
        finally:
            if connection is None or connection.closing:
                admitted.place.leave()
        if connection.closing:
            return
        self.connections[connection] = admitted.place
        if isinstance(connection, PlainConnection):
            await connection.run(functools.partial(self._join, connection, admitted))
        else:
            await self._join(connection, admitted)
            connection.transport.resume_reading()

    def _full(self) -> str | None:
        if self.draining:
            return "draining"
        return "full" if len(self.connections) >= limits.CONNECTIONS_MAX else None

    # --- joining -----------------------------------------------------------------------------------------------
    async def _join(self, connection: AnyConnection, admitted: Admitted) -> None:
        claims, room = admitted.claims, admitted.room
        role = role_in(room.about, room.id, claims)
        member = Member(room, connection, user_id=claims.sub, name=claims.name, role=role, expires_s=claims.exp)
        connection.member = member
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                await self._welcome(connection, member, admitted.since, room)
        except (StoreError, NoSuchRoom, TimeoutError):
            connection.close(Close.INTERNAL)
        except Exception:
            log.exception("join_failed", room=room.id)
            connection.close(Close.INTERNAL)

    async def _welcome(self, connection: AnyConnection, member: Member, since: Since | None, room: Room) -> None:
        """Everything up to the write may wait; from reading the room's position to `add` nothing may."""
        others = self._by_user.get(member.user_id, ())
        self._by_user[member.user_id] = (*others, member)  # from now on no change of the balance is missed
        coins = None
        if member.role != "overlay":
            coins = await self._services.wallet.coins(member.user_id)
        same_epoch = since is not None and since.epoch == room.epoch
        shown = await room.snapshot(at_least=since.seq if since and same_epoch else 0)
        missed: list[Recorded] | None = []
        if since is not None:
            missed = await self._missed(room, since, shown.seq) if same_epoch else None
        if room.gone or connection.closing:
            connection.close(Close.INTERNAL)
            return
        flushed = room.outbox.flushed
        live = room.outbox.after(shown.seq, flushed)
        if live is None:  # the room ran on by a whole ring meanwhile
            connection.close(Close.INTERNAL)
            return
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
                muted_until_ms=None,
                member_id=self._services.clock.new_id(),
            ),
            room=Raw(shown.json),
            heartbeat_s=limits.HEARTBEAT_S,
            server_time_ms=self._services.clock.now_ms(),
        )
        codec = connection.codec
        hello = msgspec.json.encode(welcome)
        messages = [hello if codec == "json" else protocol.to_msgpack(hello)]
        messages += encoded_replayed(codec, missed or [])
        messages += encoded(codec, live)
        member.cursor = max(shown.seq, flushed)
        connection.send(Prepared(codec, join_messages(codec, messages)))
        self.joins += 1
        if coins is None and member.role != "overlay":
            self._without_coins.add(member)
        room.add(member)

    async def _missed(self, room: Room, since: Since, seq: int) -> list[Recorded] | None:
        """The events between: all of them, or None. From the ring, else from the history."""
        if since.seq > seq or seq - since.seq > limits.REPLAY_EVENTS_MAX:
            return None
        events = room.outbox.after(since.seq, seq)
        return events if events is not None else await self._services.history.read(room.id, since.seq, seq)

    # --- what the sockets say (Hub) ----------------------------------------------------------------------------
    def received(self, connection: AnyConnection, opcode: int, payload: bytes) -> None:
        """One frame: an array of commands or one. Each gets its one reply."""
        member: Member = connection.member
        codec = connection.codec
        if (opcode == TEXT) != (codec == "json"):
            connection.close(Close.PROTOCOL_ERROR, "the frame is of the other codec")
            return
        try:
            commands = protocol.decode_commands(codec, payload)
        except Malformed:
            connection.close(Close.PROTOCOL_ERROR, "malformed frame")
            return
        if len(commands) > limits.COMMANDS_PER_FRAME_MAX:
            connection.close(Close.PROTOCOL_ERROR, "too many commands in a frame")
            return
        for command in commands:
            if connection.closing:
                return
            self._take(member, command)

    def _take(self, member: Member, command: Command | BadCommand) -> None:
        self.commands += 1
        wait_ms = self._budget(member)
        if wait_ms < 0:
            member.sink.close(Close.PROTOCOL_ERROR)
        elif wait_ms > 0 or member.in_flight >= limits.COMMANDS_IN_FLIGHT_MAX:
            self._refuse(member, command.ref, Refused(Refusal.RATE_LIMITED, retry_after_ms=max(wait_ms, 100)))
        elif isinstance(command, BadCommand):
            self._refuse(member, command.ref, Refused(Refusal.BAD_COMMAND), message=command.message)
        else:
            member.in_flight += 1
            task = self._loop.create_task(self._carry_out(member, command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _budget(self, member: Member) -> int:
        """Take one from the socket's token bucket: 0, or ms to wait, or -1 for a flood."""
        bot = member.role == "bot"
        per_s = limits.BOT_COMMANDS_PER_S if bot else limits.COMMANDS_PER_S
        burst = limits.BOT_COMMANDS_BURST if bot else limits.COMMANDS_BURST
        now = self._loop.time()
        if member.refilled_at:
            member.tokens = min(burst, member.tokens + (now - member.refilled_at) * per_s)
        member.refilled_at = now
        member.tokens -= 1
        if member.tokens >= 0:
            return 0
        if member.tokens < -burst:
            return -1
        return int((1 - member.tokens) / per_s * 1000) + 1

    async def _carry_out(self, member: Member, command: Command) -> None:
        try:
            if member.role == "overlay" and not command.for_listeners:
                raise Refused(Refusal.NOT_ALLOWED)
            ok = await HANDLERS[type(command)](member.room, member, command)
            self._send(member, msgspec.structs.replace(ok or Ok(), ref=command.ref))
        except Refused as refused:
            self._refuse(member, command.ref, refused)
        except Closed as closed:
            member.sink.close(closed.code)
        except (StoreError, NoSuchRoom):
            self._refuse(member, command.ref, Refused(Refusal.UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS))
        except Exception:
            log.exception("command_failed", room=member.room.id, command=command.__struct_config__.tag)
            member.sink.close(Close.INTERNAL)
        finally:
            member.in_flight -= 1

    def writable(self, connection: AnyConnection) -> None:
        if connection.member is not None:
            connection.member.room.outbox.catch_up(connection.member)

    def lost(self, connection: AnyConnection) -> None:
        if (place := self.connections.pop(connection, None)) is not None:
            place.leave()
        member: Member | None = connection.member
        if member is None:
            return
        member.room.remove(member)
        self._without_coins.discard(member)
        others = tuple(each for each in self._by_user.pop(member.user_id, ()) if each is not member)
        if others:
            self._by_user[member.user_id] = others

    # --- what is said to one socket ----------------------------------------------------------------------------
    def _send(self, member: Member, message: Any) -> None:
        sink = member.sink
        if not sink.closing:
            sink.tell(encode_message(sink.codec, message))

    def _refuse(self, member: Member, ref: str | None, refused: Refused, message: str | None = None) -> None:
        reply = {
            "type": "refused",
            "ref": ref,
            "reason": refused.reason.value,
            "message": message or refused.reason.sentence,
            "retry_after_ms": refused.retry_after_ms,
            **refused.data,
        }
        self._send(member, reply)

    def wallets_changed(self, changes: Sequence[Change]) -> None:
        """Balances that this node moved: to its own sockets now, to the other nodes by the bus."""
        self._tell_wallets(changes)
        news = msgspec.json.encode(WalletNews(self._services.node_id, list(changes)))
        with contextlib.suppress(StoreError):
            self._room_store.send("PUBLISH", keys.WALLET_NEWS, news).add_done_callback(_retrieve)

    def on_wallet_news(self, payload: bytes) -> None:
        """Balances that another node moved."""
        news = _WALLET_NEWS.decode(payload)
        if news.node != self._services.node_id:
            self._tell_wallets(news.changes)

    def _tell_wallets(self, changes: Sequence[Change]) -> None:
        for change in changes:
            for member in self._by_user.get(change.user_id, ()):
                member.late_coins = change.coins
                if not member.welcomed:  # not welcomed yet: the welcome says it
                    continue
                self._send(
                    member,
                    WalletChanged(coins=change.coins, cause=change.cause, ref=change.ref, entry=change.entry),
                )

    async def _tell_reopened(self) -> None:
        """The balance to those whose welcome had none. What they were told of it meanwhile is newer."""
        wallet, waiting = self._services.wallet, self._without_coins
        while waiting and wallet.up:
            some = [waiting.pop() for _ in range(min(len(waiting), limits.FLUSH_CHUNK))]
            found = await asyncio.gather(*(wallet.coins(member.user_id) for member in some))
            for member, coins in zip(some, found, strict=True):
                if coins is not None and member.late_coins is None:
                    self._send(member, WalletChanged(coins=coins, cause=Cause.REOPENED, ref=None, entry=None))
            waiting.update(m for m, coins in zip(some, found, strict=True) if coins is None and not m.sink.closing)
            if None in found:
                return

    # --- liveness ----------------------------------------------------------------------------------------------
    async def _turn_wheel(self) -> None:
        """One timer for all sockets: heartbeats, pings, silence, tokens that expire."""
        beat = {codec: _alone(codec, Heartbeat()) for codec in SUBPROTOCOLS.values()}
        turn = 0
        while True:
            await asyncio.sleep(limits.WHEEL_S)
            turn += 1
            if self._without_coins:
                task = asyncio.create_task(self._tell_reopened())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            now_s = self._services.clock.now_ms() / 1000
            for number, connection in enumerate(tuple(self.connections)):
                if number % limits.FLUSH_CHUNK == limits.FLUSH_CHUNK - 1:
                    await asyncio.sleep(0)
                self._look_at(connection, now_s, turn, beat)

    def _look_at(self, connection: AnyConnection, now_s: float, turn: int, beat: dict[Codec, Prepared]) -> None:
        if connection.closing or connection.member is None:
            return
        connection.silent = 0 if connection.heard else connection.silent + 1
        connection.quiet = 0 if connection.sent else connection.quiet + 1
        connection.heard = connection.sent = False
        if now_s >= connection.member.expires_s:
            connection.close(Close.TOKEN_EXPIRED)
        elif connection.silent * limits.WHEEL_S >= limits.UNRESPONSIVE_S:
            connection.close(Close.UNRESPONSIVE)
        elif (connection.quiet + 1) * limits.WHEEL_S >= limits.HEARTBEAT_S:
            connection.send(beat[connection.codec])
            connection.ping()
        elif connection.silent and turn % (limits.HEARTBEAT_S // limits.WHEEL_S) == 0:
            connection.ping()

    # --- ending ------------------------------------------------------------------------------------------------
    async def drain(self) -> None:
        """No newcomers; finish what is under way; ask everybody to come back, spread over a moment."""
        self.draining = True
        connections = list(self.connections)
        spread_ms = min(limits.DRAIN_SPREAD_MS, len(connections))
        for number, connection in enumerate(connections):
            if connection.member is not None and not connection.closing:
                wait_ms = number * spread_ms // max(1, len(connections))
                connection.send(_alone(connection.codec, Notice(kind="draining", reconnect_in_ms=wait_ms)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.DRAIN_S_MAX / 2):
                while self._tasks:
                    await asyncio.gather(*self._tasks, return_exceptions=True)
        for start in range(0, len(connections), limits.FLUSH_CHUNK):
            for connection in connections[start : start + limits.FLUSH_CHUNK]:
                connection.close(Close.DRAINING)
            await asyncio.sleep(spread_ms / 1000 * limits.FLUSH_CHUNK / max(len(connections), limits.FLUSH_CHUNK))


def _alone(codec: Codec, message: Any) -> Prepared:
    return Prepared(codec, join_messages(codec, [encode_message(codec, message)]))


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Nobody waits for this answer, and its failure is no news: balances are in every reply and welcome."""
    if not future.cancelled():
        future.exception()
