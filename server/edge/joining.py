"""From an admitted connection to its welcome: balance, snapshot, and what it has missed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from msgspec import Raw, Struct

from protocol.closes import Close
from protocol.session import Welcome, You
from server import background, limits
from server.edge.admission import Admitted
from server.edge.balances import Balances
from server.edge.crowd import Crowd
from server.edge.liveness import AnyConnection
from server.edge.refusing import Crowded, StoreAway, close_of
from server.edge.replays import Replays, size_of
from server.edge.socket import Connection
from server.edge.turns import Turns
from server.journal.people import FOREVER_MS
from server.rooms import saying
from server.rooms.frames import encode_message
from server.rooms.history import NoSuchRoom, Recorded
from server.rooms.newest import newest_chats, own_hidden
from server.rooms.people import muted_until_ms
from server.rooms.replay import again, missed_events
from server.rooms.room import Member, Room, Services
from server.rooms.snapshot import EncodedSnapshot
from server.rooms.staff import binding
from server.rooms.unsaid import still_said
from server.store.client import StoreError

log = structlog.get_logger()


class _Past(Struct):
    """The events that follow a welcome: what was missed, or the gifts and newest chats of the gap."""

    events: Sequence[Recorded]
    gap: dict[str, int] | None = None
    own: Sequence[bytes] = ()  # what only this person sees, because they are hidden


class _Arrival(Struct, eq=False):
    """Somebody on the way to the welcome."""

    connection: AnyConnection
    member: Member
    admitted: Admitted

    @property
    def seq(self) -> int:
        """The seq that the person has seen of this room's epoch."""
        since = self.admitted.since
        return since.seq if since is not None and since.epoch == self.member.room.epoch else 0


class _Greeting(Struct, eq=False):
    """A welcome that waits for its turn, as a Reader does."""

    welcome: Callable[[], None]

    def read_on(self, _until: float) -> bool:
        self.welcome()
        return False

    def read_out(self) -> None: ...
    def close(self, _code: Close) -> None: ...


class _Welcomes(Turns):
    """Balances and history of many people may come at once: their welcomes are spread over turns of the loop."""

    @property
    def share_s(self) -> float:
        return limits.JOIN_TURN_S


class Joining:
    """One per node."""

    def __init__(self, services: Services, balances: Balances, crowd: Crowd) -> None:
        self._services = services
        self._balances = balances
        self._crowd = crowd
        self._begun: list[tuple[Connection, _Arrival]] = []
        self._welcomes = _Welcomes()
        self.tasks = background.Tasks("join")
        self.replays = Replays()
        self.joins = 0
        self.under_way = 0  # have no welcome yet

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()  # kept, because until Python 3.12 each call is a system call (getpid)

    def begin(self, connection: Connection, admitted: Admitted) -> None:
        """Welcome an admitted connection, together with all others of this turn of the loop. It listens afterwards."""
        if not self._begun:
            self._loop.call_soon(self._begin_all)
        self._begun.append((connection, self._arrived(connection, admitted)))

    async def join(self, connection: AnyConnection, admitted: Admitted) -> None:
        """Welcome an admitted connection, or close it with the reason."""
        if connection.closing:  # lost or drained before this began: `lost` knew no member to forget
            return
        arrival = self._arrived(connection, admitted)
        try:
            [coins] = await self._coins_of([arrival])
            if not self._greet(arrival, coins):
                await self._greet_later(arrival, coins)
        finally:
            self.under_way -= 1

    def _arrived(self, connection: AnyConnection, admitted: Admitted) -> _Arrival:
        connection.member = member = Member(admitted.room, connection, admitted.claims)
        saying.hide_bad_name(member)
        connection.address = admitted.address
        self._balances.expect(member)
        self.under_way += 1
        return _Arrival(connection, member, admitted)

    # --- many at once ------------------------------------------------------------------------------------------
    def _begin_all(self) -> None:
        begun, self._begun = self._begun, []
        for some in [begun] if self._services.wallet.together else [[each] for each in begun]:
            self.tasks.spawn(self._join_all(some))

    async def _join_all(self, begun: Sequence[tuple[Connection, _Arrival]]) -> None:
        """Welcome them as far as nothing has to be read for it. The others wait by themselves."""
        left = len(begun)
        try:
            coins = await self._coins_of([arrival for _, arrival in begun])
            now = time.perf_counter()
            for (connection, arrival), balance in zip(begun, coins, strict=True):
                left -= 1
                if self._welcomes.free:
                    self._greet_and_listen(connection, arrival, balance)
                    now = self._welcomes.spent(now)
                else:
                    self._welcomes.wait(_Greeting(partial(self._greet_and_listen, connection, arrival, balance)))
        finally:
            self.under_way -= left

    def _greet_and_listen(self, connection: Connection, arrival: _Arrival, coins: int | None) -> None:
        try:
            if not self._greet(arrival, coins):
                self.tasks.spawn(self._greet_later_and_listen(connection, arrival, coins))
                return
            self.under_way -= 1
            connection.listen()
        except Exception as error:  # of one socket: the others go on
            background.failed("join", error)

    async def _greet_later_and_listen(self, connection: Connection, arrival: _Arrival, coins: int | None) -> None:
        try:
            await self._greet_later(arrival, coins)
        finally:
            self.under_way -= 1
        connection.listen()

    async def _coins_of(self, arrivals: Sequence[_Arrival]) -> list[int | None]:
        """Their balances. None while the wallet store is away, and for overlays, which have none."""
        owners = [arrival.member.user_id for arrival in arrivals if arrival.member.role != "overlay"]
        found = iter(await self._services.wallet.coins_of(owners) if owners else ())
        if len(owners) == len(arrivals):
            return list(found)
        return [None if arrival.member.role == "overlay" else next(found) for arrival in arrivals]

    # --- one ---------------------------------------------------------------------------------------------------
    def _greet(self, arrival: _Arrival, coins: int | None) -> bool:
        """Welcome this one. False if something has to be read first."""
        room = arrival.member.room
        try:
            shown = room.snapshot_at_hand(arrival.seq)
            past = None if shown is None else self._past_at_hand(room, arrival.admitted, shown.seq)
            if shown is None or past is None:
                return False
            self._welcome(arrival, coins, shown, past)
        except Exception as error:
            _end(arrival, error)
        return True

    async def _greet_later(self, arrival: _Arrival, coins: int | None) -> None:
        """The same, with all that must be read."""
        room = arrival.member.room
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                shown = await room.snapshot(arrival.seq)
                past = await self._past(room, arrival.admitted, shown.seq)
            await self._in_turn(partial(self._welcome, arrival, coins, shown, past))
        except Exception as error:
            _end(arrival, error)

    async def _in_turn(self, welcome: Callable[[], None]) -> None:
        """Do it when a turn of the loop has time for it, and wait for that."""
        if self._welcomes.free:
            began = time.perf_counter()
            welcome()
            self._welcomes.spent(began)
            return
        done = self._loop.create_future()

        def begin() -> None:
            if done.done():  # nobody waits any longer
                return
            try:
                welcome()
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._welcomes.wait(_Greeting(begin))
        await done

    def _welcome(self, arrival: _Arrival, coins: int | None, shown: EncodedSnapshot, past: _Past) -> None:
        """Welcome the member. Nothing may await between the last look at the room's position and `add`."""
        connection, member = arrival.connection, arrival.member
        room, since = member.room, arrival.admitted.since
        if room.gone or connection.closing:
            connection.close(Close.ROOM_RESTARTS)
            return
        if room.outbox.after(shown.seq, room.outbox.flushed) is None:  # meanwhile a whole ring of events has passed
            connection.close(Close.SLOW_READER)
            return
        now_ms = self._services.clock.now_ms()
        if binding(room, member.user_id, member.granted).banned_until_ms > now_ms:  # since the admission
            connection.close(Close.BANNED)
            return
        if member.revoked:
            connection.close(Close.TOKEN_REVOKED)
            return
        size, now = size_of(past.events), self._loop.time()
        if past.gap is not None and not self.replays.holds(size, now):
            raise Crowded(self._crowd.place_s(now))
        member.welcomed = True
        coins = coins if member.late_coins is None else member.late_coins
        you, resumed = self._you(member, coins, now_ms), since is not None and past.gap is None
        welcome = Welcome(
            protocol=1,
            epoch=room.epoch,
            seq=shown.seq,
            resumed=resumed,
            gap=past.gap,
            you=you,
            room=Raw(shown.bytes_in(connection.codec)),
            heartbeat_s=limits.HEARTBEAT_S,
            server_time_ms=now_ms,
            replays=len(past.events) if past.gap is not None else 0,
        )
        room.outbox.greet(member, encode_message(connection.codec, welcome), shown.seq, past.events)
        for message in past.own:
            member.pass_on(message)
        if size:
            self.replays.begun(connection, size, now)
        self.joins += 1
        if coins is None and member.role != "overlay":
            self._balances.waiting.add(member)
        room.add(member)

    def _you(self, member: Member, coins: int | None, now_ms: int) -> You:
        room = member.room
        standing = binding(room, member.user_id, member.granted)
        muted_ms = muted_until_ms(standing, room.about.broadcast_id, now_ms)
        return You(
            user_id=member.user_id,
            name=member.name,
            role=member.role,
            coins=coins,
            muted=muted_ms is not None,
            muted_until_ms=None if muted_ms == FOREVER_MS else muted_ms,
            member_id=self._services.clock.new_id(),
        )

    def _past_at_hand(self, room: Room, admitted: Admitted, seq: int) -> _Past | None:
        """What to send behind a snapshot as of `seq`; None if that has to be read, or leaves a gap."""
        since = admitted.since
        if since is None:
            return None if admitted.chats else _Past(())
        if since.epoch != room.epoch or since.seq > seq or seq - since.seq > limits.REPLAY_EVENTS_MAX:
            return None
        missed = room.outbox.after(since.seq, seq)
        return None if missed is None or not self._fits(missed) else _Past(still_said(missed))

    async def _past(self, room: Room, admitted: Admitted, seq: int) -> _Past:
        """What to send behind a snapshot as of `seq`."""
        since, here = admitted.since, admitted.since is not None and admitted.since.epoch == room.epoch
        own = await own_hidden(room, admitted.claims.sub) if admitted.chats else ()
        if since is None:
            return _Past(self._fitting(await newest_chats(room, admitted.chats, seq)) or [], own=own)
        missed = self._fitting(await missed_events(room, since.seq, seq)) if here else None
        if missed is not None:
            return _Past(still_said(missed))
        gap = {"from": since.seq + 1 if here and since.seq < seq else 1, "to": seq}
        return _Past(await again(room, since.epoch, since.seq, seq, admitted.chats), gap, own)

    def _fitting(self, events: Sequence[Recorded] | None) -> Sequence[Recorded] | None:
        """These events, or None if they are too many bytes, for one socket or for the node at this moment."""
        if events is None or self._fits(events):
            return events
        self.replays.left_out += 1
        return None

    def _fits(self, events: Sequence[Recorded]) -> bool:
        size = size_of(events)
        return size == 0 or (size <= limits.REPLAY_BYTES_MAX and self.replays.fits(size, self._loop.time()))


def _end(arrival: _Arrival, error: Exception) -> None:
    """Close the socket of somebody who cannot be welcomed."""
    connection = arrival.connection
    match error:
        case Crowded():
            connection.close(*close_of(error))
        case NoSuchRoom():  # deleted since it was admitted
            connection.close(Close.NO_SUCH_ROOM)
        case StoreError() | TimeoutError():
            connection.close(*close_of(StoreAway()))
        case _:
            log.error("join_failed", room=arrival.member.room.id, exc_info=error)
            connection.close(Close.INTERNAL)
