"""A room on this node: its members, what features registered for it, and the snapshot for newcomers."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Engine

import protocol
from protocol.closes import Close
from protocol.wire import Role, User
from server import background, limits
from server.catalogue import Catalogue
from server.clock import Clock
from server.journal.people import Version
from server.money.results import Money
from server.rates import RateCards
from server.rooms.about import About, about_of, changed_by, granted, role_in
from server.rooms.allowance import Allowance
from server.rooms.catalogues import Catalogues
from server.rooms.eligibility import Eligibility, everybody
from server.rooms.fanout import Fanout
from server.rooms.farewell import close_members
from server.rooms.frames import encode_message
from server.rooms.history import History, NoSuchRoom, RawSnapshot, Recorded
from server.rooms.outbox import Outbox, Sink
from server.rooms.pace import Pace
from server.rooms.people import People
from server.rooms.registry import ASIDES, CHANGED, CLOSING, JOINED, LEFT, PERIODICS, REACTORS, STANDINGS, Periodic
from server.rooms.revocations import Revocations
from server.rooms.snapshot import EncodedSnapshot, encoded_snapshot
from server.rooms.users import Users
from server.store.client import StoreError
from server.tokens import Claims, Tokens

log = structlog.get_logger()


class Services(Struct, frozen=True, kw_only=True):
    """What a room needs from the node. Made in `app`."""

    clock: Clock
    wallet: Money
    history: History
    fanout: Fanout
    pace: Pace
    tokens: Tokens
    revocations: Revocations
    catalogue: Catalogue
    rates: RateCards
    users: Users
    engine: Engine
    catalogues: Catalogues
    node_id: str
    media_origins: tuple[str, ...] = ()  # from where overlays may load media
    eligibility: Eligibility = everybody


class Member:
    """One connected person: a socket with a name, and a cursor into the room's events."""

    __slots__ = (
        "allowance",
        "badges",
        "cursor",
        "due_to",
        "expires_s",
        "facts",
        "granted",
        "in_flight",
        "late_coins",
        "leaves_with",
        "minted_ms",
        "missed",
        "name",
        "replay_to",
        "room",
        "sink",
        "user_id",
        "welcomed",
    )

    def __init__(self, room: "Room", sink: Sink, claims: Claims) -> None:
        self.room = room
        self.sink = sink
        self.user_id = claims.sub
        self.name = claims.name
        self.badges = claims.badges
        self.facts = claims.facts
        self.granted = granted(claims, room.id)
        self.expires_s = claims.exp  # wall clock, seconds
        self.minted_ms = claims.minted_ms
        self.welcomed = False
        self.cursor = self.due_to = self.replay_to = 0  # the outbox's
        self.missed: Sequence[Recorded] | None = None
        self.in_flight = 0
        self.leaves_with: Close | None = None
        self.late_coins: int | None = None  # the newest change of balance; a welcome under way will have it
        self.allowance = Allowance(claims.role)

    @property
    def role(self) -> Role:
        return self.room.role_of(self.user_id, self.granted)

    @property
    def revoked(self) -> bool:
        """Whether the token with which the member is here is no longer good."""
        return self.room.services.revocations.hold(self.user_id, self.room.id, self.minted_ms)

    def say(self, message: Any) -> None:
        """Send one message to this member alone, unless its socket is closing."""
        sink = self.sink
        if not sink.closing:
            sink.tell(encode_message(sink.codec, message))

    def pass_on(self, json: bytes) -> None:
        """Send a message that is JSON already."""
        sink = self.sink
        if not sink.closing:
            sink.tell(json if sink.codec == "json" else protocol.to_msgpack(json))

    def leave(self, code: Close) -> None:
        """Close the socket, after the replies to the commands that are under way."""
        if self.in_flight:
            self.leaves_with = code
        else:
            self.sink.close(code)

    def answered(self) -> None:
        """One of the commands under way has its reply."""
        self.in_flight -= 1
        if self.leaves_with is not None and not self.in_flight:
            self.sink.close(self.leaves_with)

    def as_user(self) -> User:
        """The member, as events show it."""
        return User(user_id=self.user_id, name=self.name, role=self.role, badges=self.badges)


class Room:
    """One room on this node. Made by `Rooms.open`."""

    def __init__(self, room_id: str, services: Services) -> None:
        self.id = room_id
        self.services = services
        self.epoch = ""
        self.prev = ""  # the epoch before, and the seq at which this one took over
        self.base: int | None = None
        self.about: About
        self.people: People
        self._about_seq = 0  # `about` is as of this seq
        self.members: set[Member] = set()
        self.stale = False  # the room has changed, and we have not read it again yet
        self.gone = False  # no longer in use: newcomers open the room again
        self.idle_since = 0.0
        self.checked_at = 0.0
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop, lambda: self.members, services.pace)
        self._memory: dict[str, Any] = {}
        self._due: dict[Periodic, float] = {}
        self._tasks = background.Tasks("room")
        self._reads = background.Tasks("room-snapshot")  # not ended with the room: newcomers wait for them
        self._farewells = background.Tasks("room-farewell")  # nor are these: they close everybody's socket
        self._keeping: asyncio.Task[None] | None = None
        self._latest: EncodedSnapshot | None = None
        self._reading: asyncio.Task[EncodedSnapshot] | None = None

    @property
    def head(self) -> int:
        return self.outbox.head

    def memory(self, feature: str, make: Callable[[], Any]) -> Any:
        """The state that a feature keeps for this room on this node."""
        if feature not in self._memory:
            self._memory[feature] = make()
        return self._memory[feature]

    def begin(self, raw: RawSnapshot, recent: list[Recorded], people: People) -> None:
        """Start at the store's state."""
        self.people = people
        self.epoch, self.prev = raw.epoch, raw.meta.get("prev", "")
        self.base = int(raw.meta["base"]) if "base" in raw.meta else None
        self.about, self._about_seq = about_of(raw.meta), raw.seq
        self.outbox.begin(raw.seq, recent)
        self._latest = encoded_snapshot(self.id, raw, self._loop.time())
        self.idle_since = self._loop.time()
        self.checked_at = self._loop.time()

    # --- events ------------------------------------------------------------------------------------------------
    def ingest(self, event: Recorded) -> None:
        """Pass the room's next event to everybody, and to the features that react to it."""
        self.outbox.record(event)
        if event.tag.startswith("room."):
            if event.seq > self._about_seq:  # apply it at once, even while the store is away
                with contextlib.suppress(msgspec.ValidationError):  # from a newer node; `refresh` asks the store
                    self._know(changed_by(protocol.decode_event(event.json), self.about), event.seq)
            self.stale = True
            self.spawn(self.refresh())
        decoded: Any = None
        for reactor in REACTORS.get(event.tag, ()):
            try:
                decoded = decoded or protocol.decode_event(event.json)
                reactor(self, decoded)
            except Exception as error:  # later events, and the link to the bus, must go on
                background.failed("reactor", error, room=self.id, reactor=reactor.__name__)

    def aside(self, kind: bytes, body: bytes) -> None:
        """Take a message without a seq, which not everybody gets. Kinds of a newer node are left alone."""
        listener = ASIDES.get(kind)
        if listener is not None:
            try:
                listener(self, body)
            except Exception as error:  # as for a reactor
                background.failed("aside", error, room=self.id, kind=kind.decode())

    def role_of(self, user_id: str, granted: Role) -> Role:
        """Somebody's role here now, given what their token grants."""
        role = role_in(self.about, user_id, granted)
        return "moderator" if role == "viewer" and self.people.of(user_id).moderator else role

    def receivers(self) -> dict[str, User]:
        """Who may receive gifts here, by user id: the host."""
        host = self.about.host
        return {host.user_id: User(user_id=host.user_id, name=host.name, role="host", badges=())}

    def know_person(self, user_id: str, version: Version) -> None:
        """Take what staff has decided about somebody."""
        before = self.people.of(user_id)
        self.people.learn(user_id, version)
        if self.people.of(user_id) != before:
            for hook in STANDINGS:
                try:
                    hook(self, user_id, before)
                except Exception as error:  # as for a reactor
                    background.failed("on_standing", error, room=self.id, hook=hook.__name__)

    def restart(self) -> None:
        """Close all sockets, because the store's history no longer matches: everybody comes back to its new state."""
        if self.gone:
            return
        log.warning("room_restarts", room=self.id, head=self.head)
        self.gone = True
        self._farewells.spawn(close_members(list(self.members), Close.ROOM_RESTARTS))

    def dissolve(self, seq: int) -> None:
        """Close all sockets for good after the event `seq`: the room was deleted. Another may come by its name."""
        self.gone = True
        self._farewells.spawn(self._dissolve(seq))

    async def _dissolve(self, seq: int) -> None:
        with contextlib.suppress(TimeoutError):  # once the next room of this name has come, nothing is flushed here
            async with asyncio.timeout(limits.CLOSE_LINGER_S):
                await self.outbox.wait_flushed(seq)
        await close_members(list(self.members), Close.NO_SUCH_ROOM)

    async def refresh(self) -> None:
        """Read the room's definition again."""
        with contextlib.suppress(StoreError, NoSuchRoom):
            raw = await self.services.history.snapshot(self.id)
            if raw.seq >= self._about_seq:
                self._know(about_of(raw.meta), raw.seq)
            self.stale = raw.seq < self.head

    def _know(self, about: About, seq: int) -> None:
        before, self.about, self._about_seq = self.about, about, seq
        if about != before:
            for hook in CHANGED:
                try:
                    hook(self, before)
                except Exception as error:  # as for a reactor
                    background.failed("on_changed", error, room=self.id, hook=hook.__name__)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a task that ends with the room."""
        self._tasks.spawn(coroutine)

    # --- members -----------------------------------------------------------------------------------------------
    def add(self, member: Member) -> None:
        self.members.add(member)
        for hook in JOINED:
            hook(self, member)

    def remove(self, member: Member) -> None:
        if member not in self.members:
            return
        self.members.discard(member)
        if not self.members:
            self.idle_since = self._loop.time()
        for hook in LEFT:
            hook(self, member)

    # --- snapshots ---------------------------------------------------------------------------------------------
    async def snapshot(self, at_least: int = 0) -> EncodedSnapshot:
        """The snapshot for a newcomer. All who come within a second share it; later events follow it.

        Raises StoreError, NoSuchRoom.
        """
        latest = self.snapshot_at_hand(at_least)
        if latest is not None:
            return latest
        if self._reading is None:
            self._reading = self._reads.share(self._read_snapshot())
            self._reading.add_done_callback(self._keep_latest)
        return await asyncio.shield(self._reading)

    def snapshot_at_hand(self, at_least: int = 0) -> EncodedSnapshot | None:
        """The same without waiting; None if it must be read."""
        latest = self._latest
        fresh = latest is not None and (
            latest.seq == self.head or self._loop.time() - latest.taken_at < limits.SNAPSHOT_MS_MAX / 1000
        )
        if (
            latest is not None
            and fresh
            and latest.seq >= at_least
            and self.outbox.after(latest.seq, self.head) is not None
        ):
            return latest
        return None

    async def _read_snapshot(self) -> EncodedSnapshot:
        return encoded_snapshot(self.id, await self.services.history.snapshot(self.id), self._loop.time())

    def _keep_latest(self, reading: "asyncio.Task[EncodedSnapshot]") -> None:
        self._reading = None
        if not reading.cancelled() and reading.exception() is None:
            self._latest = reading.result()

    # --- housekeeping ------------------------------------------------------------------------------------------
    def keep(self, now: float) -> None:
        """Start the tasks that are due. `Rooms` calls this a few times a second."""
        if now - self.checked_at >= limits.POSITION_CHECK_S:
            self.checked_at = now
            self.services.fanout.check_position(self.id)
        if self.stale:
            self.spawn(self.refresh())
        if self._keeping is None or self._keeping.done():
            self._keeping = self._tasks.spawn(self._keep(now))

    async def _keep(self, now: float) -> None:
        for seconds, periodic in PERIODICS:
            if now - self._due.get(periodic, -1e9) >= seconds:
                self._due[periodic] = now
                await self._guarded(periodic)

    async def _guarded(self, periodic: Periodic) -> None:
        try:
            await periodic(self)
        except (StoreError, NoSuchRoom) as error:
            log.debug("periodic_later", room=self.id, error=str(error))
        except Exception as error:
            background.failed("periodic", error, room=self.id, periodic=periodic.__name__)

    async def close(self) -> None:
        """Let features finish their work, then stop everything that the room runs here."""
        self.gone = True
        if self._keeping is not None:  # a room's calls never overlap
            await asyncio.wait({self._keeping})
        for periodic in CLOSING:
            await self._guarded(periodic)
        self.outbox.stop()
        await self._tasks.end()
