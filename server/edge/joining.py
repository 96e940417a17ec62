"""From an admitted connection to its welcome: balance, snapshot, and what it has missed."""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec import Raw, Struct

from protocol.closes import Close
from protocol.session import Welcome, You
from server import limits
from server.edge.admission import Admitted
from server.edge.balances import Balances
from server.edge.crowd import Crowd
from server.edge.liveness import AnyConnection
from server.edge.refusing import Crowded, StoreAway, close_of
from server.edge.replays import Replays, size_of
from server.rooms.frames import encode_message
from server.rooms.history import NoSuchRoom, Recorded
from server.rooms.newest import newest_chats
from server.rooms.replay import missed_events, money_again
from server.rooms.room import Member, Room, Services
from server.rooms.snapshot import EncodedSnapshot
from server.store.client import StoreError

log = structlog.get_logger()


class _Past(Struct):
    """The events that follow a welcome: what was missed, or the gifts of the gap."""

    events: Sequence[Recorded]
    gap: dict[str, int] | None = None


class Joining:
    """One per node."""

    def __init__(self, services: Services, balances: Balances, crowd: Crowd) -> None:
        self._services = services
        self._balances = balances
        self._crowd = crowd
        self.replays = Replays()
        self.joins = 0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()  # kept, because until Python 3.12 each call is a system call (getpid)

    async def join(self, connection: AnyConnection, admitted: Admitted) -> None:
        """Welcome an admitted connection, or close it with the reason."""
        if connection.closing:  # lost or drained before this began: `lost` knew no member to forget
            return
        room = admitted.room
        connection.member = member = Member(room, connection, admitted.claims)
        connection.address = admitted.address
        try:
            async with asyncio.timeout(limits.HANDSHAKE_S_MAX):
                await self._welcome(connection, member, admitted, room)
        except Crowded as crowded:
            connection.close(*close_of(crowded))
        except NoSuchRoom:  # deleted since it was admitted
            connection.close(Close.NO_SUCH_ROOM)
        except (StoreError, TimeoutError):
            connection.close(*close_of(StoreAway()))
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
        shown = await room.snapshot(at_least=since.seq if since and since.epoch == room.epoch else 0)
        past = await self._past(room, admitted, shown.seq)
        if room.gone or connection.closing:
            connection.close(Close.ROOM_RESTARTS)
            return
        if room.outbox.after(shown.seq, room.outbox.flushed) is None:  # meanwhile a whole ring of events has passed
            connection.close(Close.SLOW_READER)
            return
        size, now = size_of(past.events), self._loop.time()
        if past.gap is not None and not self.replays.holds(size, now):
            raise Crowded(self._crowd.place_s(now))
        member.welcomed = True
        coins = coins if member.late_coins is None else member.late_coins
        welcome = self._worded(connection, member, shown, past, coins, resumed=since is not None and past.gap is None)
        room.outbox.greet(member, welcome, shown.seq, past.events)
        if size:
            self.replays.begun(connection, size, now)
        self.joins += 1
        if coins is None and member.role != "overlay":
            self._balances.waiting.add(member)
        room.add(member)

    def _worded(
        self,
        connection: AnyConnection,
        member: Member,
        shown: EncodedSnapshot,
        past: _Past,
        coins: int | None,
        *,
        resumed: bool,
    ) -> bytes:
        """The welcome's message."""
        clock = self._services.clock
        welcome = Welcome(
            protocol=1,
            epoch=member.room.epoch,
            seq=shown.seq,
            resumed=resumed,
            gap=past.gap,
            you=You(
                user_id=member.user_id,
                name=member.name,
                role=member.role,
                coins=coins,
                muted_until_ms=None,
                member_id=clock.new_id(),
            ),
            room=Raw(shown.bytes_in(connection.codec)),
            heartbeat_s=limits.HEARTBEAT_S,
            server_time_ms=clock.now_ms(),
            replays=len(past.events) if past.gap is not None else 0,
        )
        return encode_message(connection.codec, welcome)

    async def _past(self, room: Room, admitted: Admitted, seq: int) -> _Past:
        """What to send behind a snapshot as of `seq`."""
        since, here = admitted.since, admitted.since is not None and admitted.since.epoch == room.epoch
        if since is None:
            return _Past(self._fitting(await newest_chats(room, admitted.chats, seq)) or [])
        missed = self._fitting(await missed_events(room, since.seq, seq)) if here else None
        if missed is not None:
            return _Past(missed)
        gap = {"from": since.seq + 1 if here and since.seq < seq else 1, "to": seq}
        return _Past(await money_again(room, since.epoch, since.seq, seq), gap)

    def _fitting(self, events: Sequence[Recorded] | None) -> Sequence[Recorded] | None:
        """These events, or None if they are too many bytes, for one socket or for the node at this moment."""
        if not events:
            return events
        size = size_of(events)
        if size > limits.REPLAY_BYTES_MAX:
            return None
        if not self.replays.fits(size, self._loop.time()):
            self.replays.left_out += 1
            return None
        return events
