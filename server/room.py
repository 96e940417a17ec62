"""A room on this node: its members, what features registered for it, and what a newcomer is told."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct

import protocol
from protocol.closes import Close
from protocol.gifts import Gift
from protocol.rooms import Settings, ShownSettings, Snapshot, Status, Viewers
from protocol.wire import Named, Rank, Role, User
from server import limits
from server.clock import Clock
from server.fanout import Fanout
from server.history import History, NoSuchRoom, RawSnapshot, Recorded
from server.money import Money
from server.outbox import Outbox, Sink
from server.pace import Pace
from server.registry import CLOSING, JOINED, LEFT, PERIODICS, REACTORS, SNAPSHOT_PARTS, Periodic
from server.store.client import StoreError
from server.tokens import Claims, Tokens

log = structlog.get_logger()


class Services(Struct, frozen=True, kw_only=True):
    """What a room needs of the node. Made in `app`."""

    clock: Clock
    wallet: Money
    history: History
    fanout: Fanout
    pace: Pace
    tokens: Tokens
    catalogue: dict[str, Gift]
    node_id: str


class About(Struct, frozen=True, kw_only=True):
    """What the room is, from the store."""

    status: Status
    title: str
    host: Named
    settings: Settings
    broadcast_id: str | None
    started_at_ms: int | None


def role_in(about: About, room_id: str, claims: Claims) -> Role:
    """Whom somebody is in this room: its host is who the room names, or who has a host's token for this room alone."""
    if claims.role in ("viewer", "host") and claims.sub == about.host.user_id:
        return "host"
    if claims.role == "host" and claims.room != room_id:
        return "viewer"
    return claims.role


class Member:
    """One connected person: a socket with a name, and a cursor into the room's events."""

    __slots__ = (
        "cursor",
        "due_to",
        "expires_s",
        "in_flight",
        "late_coins",
        "missed",
        "name",
        "refilled_at",
        "replay_to",
        "role",
        "room",
        "sink",
        "tokens",
        "user_id",
        "welcomed",
    )

    def __init__(self, room: "Room", sink: Sink, *, user_id: str, name: str, role: Role, expires_s: float) -> None:
        self.room = room
        self.sink = sink
        self.user_id = user_id
        self.name = name
        self.role: Role = role
        self.expires_s = expires_s  # wall clock, seconds
        self.welcomed = False
        self.cursor = self.due_to = self.replay_to = 0  # the outbox's
        self.missed: Sequence[Recorded] | None = None
        self.in_flight = 0
        self.late_coins: int | None = None  # the newest balance that changed here: a welcome under way says it
        self.tokens = limits.BOT_COMMANDS_BURST if role == "bot" else limits.COMMANDS_BURST
        self.refilled_at = 0.0

    def shown(self) -> User:
        """The member as events name it."""
        return User(user_id=self.user_id, name=self.name, role=self.role, badges=())


class Shown(Struct, frozen=True):
    """A snapshot as sent: JSON, exactly as of `seq`."""

    seq: int
    json: bytes
    taken_at: float


class Room:
    """One room as this node shows it. Made by `Rooms.open`."""

    def __init__(self, room_id: str, services: Services) -> None:
        self.id = room_id
        self.services = services
        self.epoch = ""
        self.about: About
        self.members: set[Member] = set()
        self.stale = False  # the room has changed and was not read again yet
        self.gone = False  # let go of: newcomers open the room anew
        self.idle_since = 0.0
        self.checked_at = 0.0
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop, lambda: self.members, services.pace)
        self._memory: dict[str, Any] = {}
        self._due: dict[Periodic, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeping = False
        self._shown: Shown | None = None
        self._showing: asyncio.Future[Shown] | None = None

    @property
    def head(self) -> int:
        return self.outbox.head

    def memory(self, feature: str, make: Callable[[], Any]) -> Any:
        """What a feature keeps for this room on this node."""
        if feature not in self._memory:
            self._memory[feature] = make()
        return self._memory[feature]

    def begin(self, raw: RawSnapshot, recent: list[Recorded]) -> None:
        """Take the store's state as the start."""
        self.epoch = raw.epoch
        self.about = about_of(raw.meta)
        self.outbox.begin(raw.seq, recent)
        self._shown = self._show(raw)
        self.idle_since = self._loop.time()
        self.checked_at = self._loop.time()

    # --- events ------------------------------------------------------------------------------------------------
    def ingest(self, event: Recorded) -> None:
        """The next event of the room: to everybody, and to the features that react to it."""
        self.outbox.record(event)
        if event.tag.startswith("room."):
            self.stale = True
            self.spawn(self.refresh())
        reactors = REACTORS.get(event.tag)
        if reactors:
            decoded = protocol.decode_event(event.json)
            for reactor in reactors:
                reactor(self, decoded)

    def hide(self, count: int) -> None:
        """So many messages had no place in the room; its sockets are told."""
        self.outbox.hide(count)

    def restart(self) -> None:
        """The store's history is not what this room stands on any more: everybody comes back to its present state."""
        log.warning("room_restarts", room=self.id, head=self.head)
        self.gone = True
        for member in tuple(self.members):
            member.sink.close(Close.INTERNAL)

    async def refresh(self) -> None:
        """Read again what the room is."""
        with contextlib.suppress(StoreError, NoSuchRoom):
            raw = await self.services.history.snapshot(self.id)
            self.about = about_of(raw.meta)
            self.stale = raw.seq < self.head

    def spawn(self, coroutine: Any) -> None:
        """Run something beside; it ends with the room."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
    async def snapshot(self, at_least: int = 0) -> Shown:
        """What a newcomer is told: shared by all who come within a second, the events after it follow it.

        Raises StoreError, NoSuchRoom.
        """
        shown = self._shown
        fresh = shown is not None and (
            shown.seq == self.head or self._loop.time() - shown.taken_at < limits.SNAPSHOT_MS_MAX / 1000
        )
        if (
            shown is not None
            and fresh
            and shown.seq >= at_least
            and self.outbox.after(shown.seq, self.head) is not None
        ):
            return shown
        if self._showing is None:
            self._showing = asyncio.ensure_future(self._read_snapshot())
            self._showing.add_done_callback(self._shown_anew)
        return await asyncio.shield(self._showing)

    async def _read_snapshot(self) -> Shown:
        return self._show(await self.services.history.snapshot(self.id))

    def _shown_anew(self, future: "asyncio.Future[Shown]") -> None:
        self._showing = None
        if not future.cancelled() and future.exception() is None:
            self._shown = future.result()

    def _show(self, raw: RawSnapshot) -> Shown:
        about = about_of(raw.meta)
        parts = {field: part(raw.state) for field, part in SNAPSHOT_PARTS.items()}
        snapshot = Snapshot(
            room_id=self.id,
            broadcast_id=about.broadcast_id,
            title=about.title,
            status=about.status,
            host=about.host,
            started_at_ms=about.started_at_ms,
            settings=shown_settings(about.settings),
            viewers=Viewers(*(int(raw.meta.get(name, 0)) for name in ("now", "peak", "unique"))),
            likes=int(raw.meta.get("likes", 0)),
            coins=int(raw.meta.get("coins", 0)),
            top=tuple(Rank(n + 1, Named(user_id, name), coins) for n, (user_id, name, coins) in enumerate(raw.board)),
            **parts,
        )
        return Shown(raw.seq, msgspec.json.encode(snapshot), self._loop.time())

    # --- housekeeping ------------------------------------------------------------------------------------------
    def keep(self, now: float) -> None:
        """Start what is due. Called by `Rooms` a few times a second."""
        if now - self.checked_at >= limits.POSITION_CHECK_S:
            self.checked_at = now
            self.services.fanout.check_position(self.id)
        if self.stale:
            self.spawn(self.refresh())
        if not self._keeping:
            self._keeping = True
            self.spawn(self._keep(now))

    async def _keep(self, now: float) -> None:
        try:
            for seconds, periodic in PERIODICS:
                if now - self._due.get(periodic, -1e9) >= seconds:
                    self._due[periodic] = now
                    await self._guarded(periodic)
        finally:
            self._keeping = False

    async def _guarded(self, periodic: Periodic) -> None:
        try:
            await periodic(self)
        except (StoreError, NoSuchRoom) as error:
            log.debug("periodic_later", room=self.id, error=str(error))
        except Exception:
            log.exception("periodic_failed", room=self.id, periodic=periodic.__name__)

    async def close(self) -> None:
        """Let go: features say their last word, then nothing of the room runs here any more."""
        self.gone = True
        for periodic in CLOSING:
            await self._guarded(periodic)
        self.outbox.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Rooms:
    """The rooms that this node shows."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: dict[str, Room] = {}
        self._opening: dict[str, asyncio.Task[Room]] = {}
        self._task: asyncio.Task[None] | None = None

    def here(self) -> list[Room]:
        return list(self._open.values())

    async def open(self, room_id: str) -> Room:
        """The room, subscribed and at the store's state. Raises NoSuchRoom, StoreError."""
        room = self._open.get(room_id)
        if room is not None and not room.gone:
            return room
        opening = self._opening.get(room_id)
        if opening is None:
            opening = self._opening[room_id] = asyncio.create_task(self._begin(room_id))
            opening.add_done_callback(lambda _: self._opening.pop(room_id, None))
        return await asyncio.shield(opening)

    async def _begin(self, room_id: str) -> Room:
        history, fanout = self._services.history, self._services.fanout
        old = self._open.pop(room_id, None)
        if old is not None:
            fanout.forget(room_id)
            await old.close()
        await history.position(room_id)  # an unknown room leaves no subscription behind
        await fanout.listen(room_id)
        try:
            raw = await history.snapshot(room_id)
            recent = await history.read(room_id, max(0, raw.seq - limits.REPLAY_EVENTS_MAX), raw.seq)
        except BaseException:
            fanout.forget(room_id)
            raise
        room = Room(room_id, self._services)
        room.begin(raw, recent or [])
        self._open[room_id] = room
        fanout.attach(room)
        return room

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="rooms")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for opening in tuple(self._opening.values()):
            opening.cancel()
        rooms, self._open = list(self._open.values()), {}
        await asyncio.gather(*(room.close() for room in rooms), return_exceptions=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(limits.HOUSEKEEPING_S)
            now = loop.time()
            for room in list(self._open.values()):
                if room.gone and room.members:
                    continue
                if room.gone or (not room.members and now - room.idle_since > limits.ROOM_IDLE_S):
                    del self._open[room.id]
                    self._services.fanout.forget(room.id)
                    await room.close()
                else:
                    room.keep(now)


def about_of(meta: dict[str, str]) -> About:
    """The room's definition from its meta hash."""
    return About(
        status=msgspec.convert(meta["status"], Status),
        title=meta["title"],
        host=Named(meta["host_id"], meta["host_name"]),
        settings=msgspec.json.decode(meta["settings"], type=Settings),
        broadcast_id=meta.get("broadcast"),
        started_at_ms=int(meta["started_at_ms"]) if "started_at_ms" in meta else None,
    )


def shown_settings(settings: Settings) -> ShownSettings:
    return ShownSettings(settings.chat, settings.gifts, settings.slow_mode_s, settings.unique_chat_s)
