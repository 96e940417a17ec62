"""The rooms' histories in the room store: append with a seq, snapshots exactly as of a seq, reading what was missed."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from protocol.wire import Delivery, Event, encode
from server import limits
from server.clock import Clock
from server.store import keys, scripts
from server.store.client import Arg, Link, Store, StoreError, StoreRefused
from server.store.cluster import ClusterStore, not_here
from server.store.scripts import Script

APPEND = scripts.load("history_append")
SNAPSHOT = scripts.load("history_snapshot")
WAKE = scripts.load("history_wake")
SCRIPTS = (APPEND, SNAPSHOT, WAKE)


class NoSuchRoom(Exception):
    """There is no room of this id."""


class Recorded:
    """One event as it stands in a history: JSON once, msgpack when the first binary socket needs it."""

    __slots__ = ("_msgpack", "json", "seq", "tag")

    def __init__(self, seq: int, at_ms: bytes, body: bytes) -> None:
        self.seq = seq
        self.tag = body[9 : body.index(b'"', 9)].decode()  # {"type":"<tag>"
        self.json = b'{"seq":%d,"at_ms":%b,%b' % (seq, at_ms, body[1:])
        self._msgpack: bytes | None = None

    def msgpack(self) -> bytes:
        if self._msgpack is None:
            from protocol import to_msgpack  # noqa: PLC0415  # the package imports every feature

            self._msgpack = to_msgpack(self.json)
        return self._msgpack


class RawSnapshot(Struct, frozen=True, kw_only=True):
    """A room's state in the store, read in one step."""

    meta: dict[str, str]
    board: list[tuple[str, str, int]]  # user id, name, coins
    state: dict[str, str]

    @property
    def seq(self) -> int:
        return int(self.meta["seq"])

    @property
    def epoch(self) -> str:
        return self.meta["epoch"]


class History:
    """Appends and reads. Every call raises StoreError when the room store is away."""

    def __init__(self, store: Store | ClusterStore) -> None:
        self.store = store
        self.other_broadcast = 0  # paid gifts that were told when another broadcast had begun: shown in none

    async def run(self, script: Script, names: Sequence[str], args: Sequence[Arg]) -> list[Any]:
        """Run a feature's script on the room store; the first of its results is a named status."""
        return cast(list[Any], await self.store.run(script, names, args))

    async def append(self, room_id: str, event: Event) -> int:
        """Append one event; its seq. Raises NoSuchRoom."""
        names = event_keys(room_id)
        outcome = await self.run(APPEND, names, [limits.HISTORY_EVENTS_MAX, encode(event)])
        if outcome[0] == b"no_room":
            raise NoSuchRoom(room_id)
        return int(outcome[1])

    async def snapshot(self, room_id: str) -> RawSnapshot:
        """Everything that a newcomer is told. Raises NoSuchRoom."""
        names = [
            keys.room_meta(room_id),
            keys.room_board(room_id),
            keys.room_names(room_id),
            keys.room_state(room_id),
        ]
        outcome = await self.run(SNAPSHOT, names, [limits.BOARD_ROWS])
        if outcome[0] == b"no_room":
            raise NoSuchRoom(room_id)
        _, about, ranks, shown, state = outcome
        board = [(ranks[2 * n].decode(), name.decode(), int(float(ranks[2 * n + 1]))) for n, name in enumerate(shown)]
        return RawSnapshot(meta=_pairs(about), board=board, state=_pairs(state))

    async def read(self, room_id: str, after: int, to: int) -> list[Recorded] | None:
        """The events after `after` up to `to`: all of them, or None when some are no longer kept."""
        if to <= after:
            return []
        rows = await self.store.call("XRANGE", keys.room_events(room_id), f"{after + 1}-0", f"{to}-1")
        events = [Recorded(int(row[0].split(b"-")[0]), row[1][1], row[1][3]) for row in cast(list[Any], rows)]
        whole = len(events) == to - after and all(event.seq == after + n + 1 for n, event in enumerate(events))
        return events if whole else None

    async def position(self, room_id: str) -> tuple[str, int]:
        """Epoch and last seq. Raises NoSuchRoom."""
        epoch, seq = cast(list[Any], await self.store.call("HMGET", keys.room_meta(room_id), "epoch", "seq"))
        if epoch is None:
            raise NoSuchRoom(room_id)
        return epoch.decode(), int(seq)

    async def room_ids(self) -> list[str]:
        """Every room there is, bounded."""
        found = cast(list[bytes], list(await self.store.call("SMEMBERS", keys.ROOMS)))
        return sorted(room_id.decode() for room_id in found)[: limits.ROOMS_LISTED_MAX]


def new_epoch(clock: Clock) -> str:
    """A name for a room's run of seqs that was never used before."""
    return clock.new_id().replace("-", "")[:20]


async def wake_rooms(store: Store | ClusterStore, link: Link, identity: str, clock: Clock) -> None:
    """Before anything is appended over a new connection: rooms of a store that may have lost its end get a new epoch.

    The room store is `everysec`: a power cut takes its last second, a replica that takes over may lag, and seqs that
    somebody saw would be given again. A store that was stopped in order has lost nothing. On a cluster each primary
    wakes its own; one store that is a replica cannot be woken, and nobody may use it. Raises StoreError.
    """
    one = isinstance(store, Store)
    whole = one and await link.call("GET", keys.ROOM_STORE_WHOLE) == identity.encode()
    found = cast(list[bytes], list(await _room_ids(store, link)))
    args = (identity, int(whole), new_epoch(clock))
    calls = [link.call("EVALSHA", WAKE.sha, 1, keys.room_meta(room_id.decode()), *args) for room_id in found]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        elsewhere = not one and isinstance(outcome, StoreError) and not_here(outcome)
        if isinstance(outcome, BaseException) and not elsewhere:
            raise outcome


async def _room_ids(store: Store | ClusterStore, link: Link) -> Any:
    """Every room's id, from this connection or, on a cluster, from the primary that has them."""
    try:
        return await link.call("SMEMBERS", keys.ROOMS)
    except StoreRefused as refused:
        if not not_here(refused):
            raise
        return await store.call("SMEMBERS", keys.ROOMS)


def event_keys(room_id: str) -> list[str]:
    """The keys that `append_event` takes: meta, events, live."""
    return [keys.room_meta(room_id), keys.room_events(room_id), keys.room_live(room_id)]


def delivery_of(tag: str) -> Delivery:
    """The class of an event type; an unknown one, of a newer node, is kept."""
    from protocol import EVENTS  # noqa: PLC0415  # the package imports every feature

    event = EVENTS.get(tag)
    return Delivery.KEPT if event is None else event.delivery


def _pairs(flat: Any) -> dict[str, str]:
    """HGETALL's reply: a map, or inside a script a flat list."""
    if isinstance(flat, dict):
        return {key.decode(): value.decode() for key, value in flat.items()}
    return {flat[n].decode(): flat[n + 1].decode() for n in range(0, len(flat), 2)}


__all__ = [
    "APPEND",
    "SCRIPTS",
    "SNAPSHOT",
    "History",
    "NoSuchRoom",
    "RawSnapshot",
    "Recorded",
    "StoreError",
    "delivery_of",
    "event_keys",
]
