"""The rooms' histories in the room store: append with a seq, snapshot exactly as of a seq, read what was missed."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from protocol.wire import Delivery, Event, encode
from server import limits
from server.clock import Clock
from server.store import keys, scripts
from server.store.client import Arg, Link, Store, StoreError, StoreRefused
from server.store.cluster import ClusterStore, not_here, open_store
from server.store.guard import SENT_TO_ROOMS, commands_of, rights_missing
from server.store.scripts import Script

APPEND = scripts.load("history_append")
SNAPSHOT = scripts.load("history_snapshot")
WAKE = scripts.load("history_wake")
SCRIPTS = (APPEND, SNAPSHOT, WAKE)


class NoSuchRoom(Exception):
    """There is no room with this id."""


class Recorded:
    """One event of a history: as JSON, and as msgpack once a binary socket needs it."""

    __slots__ = ("_msgpack", "json", "seq", "tag")

    def __init__(self, seq: int, at_ms: bytes, body: bytes) -> None:
        self.seq = seq
        self.tag = body[9 : body.index(b'"', 9)].decode()  # {"type":"<tag>"
        self.json = b'{"seq":%d,"at_ms":%b,%b' % (seq, at_ms, body[1:])
        self._msgpack: bytes | None = None

    @property
    def delivery(self) -> Delivery:
        """Its class: its type's, unless it says itself that it may be dropped."""
        from protocol import EVENTS  # noqa: PLC0415  # the package imports every feature

        event = EVENTS.get(self.tag)
        if event is not None and event.says_kept and not msgspec.json.decode(self.json, type=_Says).kept:
            return Delivery.DROPPABLE
        return delivery_of(self.tag)

    def msgpack(self) -> bytes:
        if self._msgpack is None:
            from protocol import to_msgpack  # noqa: PLC0415  # the package imports every feature

            self._msgpack = to_msgpack(self.json)
        return self._msgpack


class _Says(Struct):
    """What an event says of its delivery."""

    kept: bool = True


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
        self.on_wake: Callable[[], None] = lambda: None  # called after a store has woken its rooms
        self.other_broadcast = 0  # paid gifts that were not shown, because another broadcast had begun

    async def change(
        self, room_id: str, script: Script, *, each: Iterable[Mapping[str, Arg]] = (), **named: Arg
    ) -> list[Any]:
        """Run a script on a room. The first result is a named status. Raises NoSuchRoom, WrongCall.

        Keys that are not passed are the room's own keys of that name. `keep` is the history's maximum length.
        """
        room_keys = {name: keys.room(room_id, name) for name in script.keys if name not in named}
        if "keep" in script.args:
            named["keep"] = limits.HISTORY_EVENTS_MAX
        outcome = cast(list[Any], await self.store.run(*script(each=each, **room_keys, **named)))
        if outcome[0] == b"no_room":
            raise NoSuchRoom(room_id)
        return outcome

    async def append(self, room_id: str, event: Event) -> int:
        """Append one event and return its seq. Raises NoSuchRoom."""
        outcome = await self.change(room_id, APPEND, body=encode(event))
        return int(outcome[1])

    async def snapshot(self, room_id: str) -> RawSnapshot:
        """Read everything that a newcomer needs. Raises NoSuchRoom."""
        _, about, ranks, names, state = await self.change(room_id, SNAPSHOT, rows=limits.BOARD_ROWS)
        board = [(ranks[2 * n].decode(), name.decode(), int(float(ranks[2 * n + 1]))) for n, name in enumerate(names)]
        return RawSnapshot(meta=_pairs(about), board=board, state=_pairs(state))

    async def read(self, room_id: str, after: int, to: int) -> list[Recorded] | None:
        """All events after `after` up to `to`, or None when some are no longer kept."""
        if to <= after:
            return []
        events = await self.kept(room_id, after, to)
        whole = len(events) == to - after and all(event.seq == after + n + 1 for n, event in enumerate(events))
        return events if whole else None

    async def kept(self, room_id: str, after: int, to: int, most: int | None = None) -> list[Recorded]:
        """Those events after `after` up to `to` that are still kept; the first `most` of them if it is given."""
        bound = () if most is None else ("COUNT", most)
        rows = await self.store.call("XRANGE", keys.room(room_id, keys.EVENTS), f"{after + 1}-0", f"{to}-1", *bound)
        return [Recorded(int(row[0].split(b"-")[0]), row[1][1], row[1][3]) for row in cast(list[Any], rows)]

    async def position(self, room_id: str) -> tuple[str, int]:
        """Epoch and last seq. Raises NoSuchRoom."""
        epoch, seq = cast(list[Any], await self.store.call("HMGET", keys.room(room_id, keys.META), "epoch", "seq"))
        if epoch is None:
            raise NoSuchRoom(room_id)
        return epoch.decode(), int(seq)

    async def meta(self, room_id: str) -> dict[str, str]:
        """What the room is, and its totals. Raises NoSuchRoom."""
        found = _pairs(await self.store.call("HGETALL", keys.room(room_id, keys.META)))
        if not found:
            raise NoSuchRoom(room_id)
        return found

    async def metas(self, room_ids: Sequence[str], fields: Sequence[str]) -> list[dict[str, str]]:
        """These fields of many rooms, as far as they have them."""
        calls = (self.store.call("HMGET", keys.room(room_id, keys.META), *fields) for room_id in room_ids)
        found = cast(list[list[bytes | None]], await asyncio.gather(*calls))
        return [
            {name: value.decode() for name, value in zip(fields, values, strict=True) if value is not None}
            for values in found
        ]

    async def enlist(self, room_id: str) -> None:
        """Have the room in the list of all rooms, by which a new store wakes them."""
        await self.store.call("SADD", keys.ROOMS, room_id)

    async def strike(self, room_id: str) -> None:
        """Take the room off the list, unless somebody has just made it again."""
        await self.store.call("SREM", keys.ROOMS, room_id)
        if await self.store.call("HGET", keys.room(room_id, keys.META), "epoch") is not None:
            await self.enlist(room_id)

    async def room_ids(self) -> list[str]:
        """The ids of all rooms, sorted."""
        found = cast(list[bytes], list(await self.store.call("SMEMBERS", keys.ROOMS)))
        return sorted(room_id.decode() for room_id in found)


def new_epoch(clock: Clock) -> str:
    """A new, unique name for a room's run of seqs."""
    return clock.new_id().replace("-", "")[:20]


def open_history(address: str, scripts: Sequence[Script], clock: Clock) -> History:
    """The histories in the room store at this address. Each new link to it wakes its rooms first."""

    commands = commands_of([*SCRIPTS, *scripts], SENT_TO_ROOMS, keys.room("-", keys.LIVE))

    async def wake(link: Link, identity: str) -> None:
        for missing in await rights_missing(link, commands):  # else a script would leave its first half done
            raise StoreRefused(f"NOPERM {missing}")
        await _wake_rooms(store, link, identity, clock)
        history.on_wake()

    store = open_store("room", address, [*SCRIPTS, *scripts], wake, limits.WAKE_S_MAX)
    history = History(store)
    return history


async def _wake_rooms(store: Store | ClusterStore, link: Link, identity: str, clock: Clock) -> None:
    """Give rooms a new epoch if the store may have lost its latest events. Runs before anything else uses the link.

    The room store is `everysec`: a power cut takes its last second, and a replica that takes over may lag. Seqs that
    somebody saw would then be used again. A store that was stopped cleanly has lost nothing. On a cluster, each
    primary's link wakes its own rooms. A single store that is a replica raises StoreError, so nobody uses it.
    """
    one, whole, epoch = isinstance(store, Store), False, new_epoch(clock)
    if one:
        names = (keys.ROOMS_WOKEN, keys.ROOM_STORE_WHOLE)
        woken, whole = [value == identity.encode() for value in await link.call("MGET", *names)]
        if woken:  # by another node, or by an earlier link
            return
    cursor = b""
    while cursor != b"0":
        async with asyncio.timeout(limits.STORE_CALL_S_MAX):
            cursor, found = await _some_rooms(store, link, cursor or b"0")
            metas = [keys.room(room_id.decode(), keys.META) for room_id in found]
            for first in range(0, len(metas), limits.WAKE_BATCH):
                some = metas[first : first + limits.WAKE_BATCH]
                calls = [link.run(WAKE(meta=meta, identity=identity, whole=int(whole), epoch=epoch)) for meta in some]
                _check_woken(await asyncio.gather(*calls, return_exceptions=True), one=one)
    if one:
        await link.call("SET", keys.ROOMS_WOKEN, identity)


def _check_woken(outcomes: Sequence[Any], *, one: bool) -> None:
    """Raise the error of a room that could not wake, unless another primary of a cluster has it."""
    for outcome in outcomes:
        elsewhere = not one and isinstance(outcome, StoreError) and not_here(outcome)
        if isinstance(outcome, BaseException) and not elsewhere:
            raise outcome


async def _some_rooms(store: Store | ClusterStore, link: Link, cursor: bytes) -> tuple[bytes, list[bytes]]:
    """The next cursor and some rooms' ids, from this link or, on a cluster, from the primary that has them."""
    scan = ("SSCAN", keys.ROOMS, cursor, "COUNT", limits.WAKE_BATCH)
    try:
        found = await link.call(*scan)
    except StoreRefused as refused:
        if not not_here(refused):
            raise
        found = await store.call(*scan)
    return cast(tuple[bytes, list[bytes]], (found[0], list(found[1])))


def delivery_of(tag: str) -> Delivery:
    """An event type's delivery class. An unknown type, from a newer node, is kept."""
    from protocol import EVENTS  # noqa: PLC0415  # the package imports every feature

    event = EVENTS.get(tag)
    return Delivery.KEPT if event is None else event.delivery


def _pairs(flat: Any) -> dict[str, str]:
    """Decode HGETALL's reply: a map, or a flat list from a script."""
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
]
