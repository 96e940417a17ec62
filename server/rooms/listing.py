"""The list of all rooms: read from the store at most once a second, however many ask for it."""

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Any, Literal, cast

import msgspec
from msgspec import Raw, Struct

from protocol.ids import RoomId
from protocol.rooms import Settings, ShownSettings, Status, Viewers
from protocol.wire import Named
from server import limits
from server.rooms.about import details_of, settings_of, shown_settings
from server.rooms.history import History

Order = Literal["room", "viewers", "start"]
Place = tuple[int, str]  # by which a list is ordered: viewers or start (negative) or 0, then the room's id
LISTS_KEPT = 64  # filtered and sorted, until the rooms are read again: what people ask for most


class RoomShown(Struct, frozen=True, kw_only=True):
    """A room as the API shows it to everybody."""

    room_id: RoomId
    title: str
    status: Status
    host: Named
    broadcast_id: str | None
    started_at_ms: int | None
    settings: ShownSettings
    viewers: Viewers
    likes: int
    coins: int
    epoch: str
    seq: int
    category: str = ""
    hashtags: tuple[str, ...] = ()
    language: str = ""
    starts_at_ms: int | None = None


class RoomWhole(Struct, frozen=True, kw_only=True):
    """A room with all its settings, for the host platform and the room's host."""

    room_id: RoomId
    title: str
    status: Status
    host: Named
    broadcast_id: str | None
    started_at_ms: int | None
    settings: Settings
    viewers: Viewers
    likes: int
    coins: int
    epoch: str
    seq: int
    category: str = ""
    hashtags: tuple[str, ...] = ()
    language: str = ""
    starts_at_ms: int | None = None

    def shown(self) -> RoomShown:
        """What everybody may see of it."""
        return RoomShown(**{**msgspec.structs.asdict(self), "settings": shown_settings(self.settings)})


# What a list needs of a room's meta hash: without `settings`, which may have 32 KB of blocked words.
_FIELDS = (
    *("title", "status", "host_id", "host_name", "broadcast", "started_at_ms", "shown_settings", "details"),
    *("now", "peak", "unique", "likes", "coins", "epoch", "seq"),
)


def _common(room_id: RoomId, meta: dict[str, str]) -> dict[str, Any]:
    return {
        "room_id": room_id,
        "title": meta["title"],
        "status": msgspec.convert(meta["status"], Status),
        "host": Named(meta["host_id"], meta["host_name"]),
        "broadcast_id": meta.get("broadcast"),
        "started_at_ms": int(meta["started_at_ms"]) if "started_at_ms" in meta else None,
        "viewers": Viewers(*(int(meta.get(name, 0)) for name in ("now", "peak", "unique"))),
        "likes": int(meta.get("likes", 0)),
        "coins": int(meta.get("coins", 0)),
        "epoch": meta["epoch"],
        "seq": int(meta["seq"]),
        **msgspec.structs.asdict(details_of(meta)),
    }


def whole(room_id: RoomId, meta: dict[str, str]) -> RoomWhole:
    """A room from its whole meta hash."""
    return RoomWhole(**_common(room_id, meta), settings=settings_of(meta["settings"]))


class Wanted(Struct, frozen=True):
    """Which rooms a list has. Whatever is None does not matter."""

    status: str | None = None
    category: str | None = None
    hashtag: str | None = None
    language: str | None = None

    @property
    def facets(self) -> tuple[str, ...]:
        """All that a room must have, as `Row.facets` names it."""
        named = (("category", self.category), ("hashtag", self.hashtag), ("language", self.language))
        return tuple(f"{name}:{value}" for name, value in named if value is not None)

    def has(self, row: "Row") -> bool:
        return self.status in (None, row.status) and all(facet in row.facets for facet in self.facets)


class Row(Struct, frozen=True):
    """A room in the list: what it is found by, and its JSON."""

    room_id: RoomId
    status: str
    now: int
    started_at_ms: int
    facets: tuple[str, ...]
    json: Raw

    def place(self, order: Order) -> Place:
        return ({"viewers": -self.now, "start": -self.started_at_ms, "room": 0}[order], self.room_id)


def row_of(room: RoomShown) -> Row:
    details = (("category", room.category), ("language", room.language), *(("hashtag", tag) for tag in room.hashtags))
    facets = tuple(f"{name}:{value}" for name, value in details if value)
    json = Raw(msgspec.json.encode(room))
    return Row(room.room_id, room.status, room.viewers.now, room.started_at_ms or 0, facets, json)


class Page(Struct, frozen=True):
    """Some rooms of a list, and the place after which it goes on."""

    rooms: list[Raw]
    after: Place | None


class Listing:
    """All rooms of the store, some 600 bytes each. What this node has changed is there at once."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._rows: dict[str, Row] = {}
        self._noted: dict[str, Row | None] = {}  # since the reading that is under way began
        self._by_facet: dict[str, set[str]] = {}
        self._lists: dict[tuple[Wanted, Order], list[tuple[Place, Row]]] = {}
        self._reading = asyncio.Lock()
        self._until = 0.0  # when the rows are too old, by the monotonic clock

    def note(self, room_id: str, room: RoomShown | None) -> None:
        """Show this room as it is now, until the next reading; None once it is deleted."""
        row = None if room is None else row_of(room)
        before = self._rows.pop(room_id, None)
        self._noted[room_id] = row
        if row is not None:
            self._rows[room_id] = row
            self._find_by_facets([row])
        for (wanted, order), rows in self._lists.items():
            if before is not None and wanted.has(before):
                del rows[bisect_left(rows, before.place(order), key=_place)]
            if row is not None and wanted.has(row):
                insort(rows, (row.place(order), row), key=_place)

    async def page(self, wanted: Wanted, order: Order, limit: int, after: Place | None) -> Page:
        """The rooms after a place, at most `limit`. Raises StoreError."""
        await self._refresh()
        rows = self._list(wanted, order)
        first = 0 if after is None else bisect_right(rows, after, key=_place)
        found = rows[first : first + limit]
        more = first + limit < len(rows)
        return Page([row.json for _, row in found], found[-1][0] if more else None)

    def _list(self, wanted: Wanted, order: Order) -> list[tuple[Place, Row]]:
        known = self._lists.get((wanted, order))
        if known is None:
            rows = (row for row in self._candidates(wanted) if wanted.has(row))
            known = sorted(((row.place(order), row) for row in rows), key=_place)
            while len(self._lists) >= LISTS_KEPT:
                del self._lists[next(iter(self._lists))]
            self._lists[wanted, order] = known
        return known

    def _candidates(self, wanted: Wanted) -> Iterable[Row]:
        """All rooms, or those with the rarest thing that is wanted: nobody makes us look through all of them."""
        found = [self._by_facet.get(facet, set()) for facet in wanted.facets]
        if not found:
            return self._rows.values()
        return [self._rows[room_id] for room_id in min(found, key=len) if room_id in self._rows]

    def _find_by_facets(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for facet in row.facets:
                self._by_facet.setdefault(facet, set()).add(row.room_id)

    async def _refresh(self) -> None:
        """Read the rooms again if it is time. Who comes meanwhile gets the former list, if there is one."""
        if time.monotonic() < self._until or (self._reading.locked() and self._until > 0):
            return
        async with self._reading:
            began = time.monotonic()
            if began < self._until:
                return
            self._noted = {}
            read = await self._read()
            self._rows = {name: row for name, row in {**read, **self._noted}.items() if row is not None}
            self._lists, self._by_facet = {}, {}
            self._find_by_facets(self._rows.values())
            took_s = time.monotonic() - began
            self._until = began + max(limits.LISTING_S, took_s / limits.LISTING_SHARE)

    async def _read(self) -> dict[str, Row]:
        found: dict[str, Row] = {}
        ids = await self._history.room_ids()
        for start in range(0, len(ids), limits.LISTING_CHUNK):
            chunk = ids[start : start + limits.LISTING_CHUNK]
            for room_id, meta in zip(chunk, await self._history.metas(chunk, _FIELDS), strict=True):
                if "epoch" in meta:
                    settings = cast(ShownSettings, Raw(meta["shown_settings"].encode()))
                    found[room_id] = row_of(RoomShown(**_common(room_id, meta), settings=settings))
        return found


def _place(entry: tuple[Place, Row]) -> Place:
    return entry[0]
