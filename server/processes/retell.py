"""Shows paid gifts that no node has shown: notes them from the log, checks their rooms after a while, shows them.

It also shows rooms what reversals take of their gifts, after the gifts: a wallet's entries come in order.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, cast

import msgspec
import structlog
from sqlalchemy import Engine

from protocol.gifts import GiftRef, GiftRefunded, GiftSent
from server import limits
from server.clock import Clock
from server.entries import CHARGEBACK, GIFT, REFUND, GiftEntry
from server.features.gifts import COUNTED, ONCE, Refunded, show_gift, show_refunds
from server.journal import parts
from server.journal.books import LogEntry
from server.journal.database import ask
from server.journal.drain import Drain
from server.journal.ledger import Entries, Logs
from server.journal.log import Position, after, read_logs
from server.rooms.history import History, NoSuchRoom
from server.store import keys
from server.store.client import Store, StoreDown, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class _Sent(msgspec.Struct, frozen=True):
    """Where a gift was sent, and what it was, in its entry."""

    room: str
    gift: str
    count: int
    coins: int
    broadcast: str | None = None
    anonymous: bool = False


_ENTRY = msgspec.json.Decoder(GiftEntry)
_SENT = msgspec.json.Decoder(_Sent)
_REASONS: dict[str, Any] = {kind.name: kind.name for kind in (REFUND, CHARGEBACK)}  # what `gifts.refunded` says
ReadLogs = Callable[[dict[int, str], int], Awaitable[Logs]]  # takes where to begin, and the maximum of entries


class Reversal(NamedTuple):
    """A refund or a chargeback. SQL knows what it takes of which gift."""

    kind: str
    id: str
    viewer: str


ReadParts = Callable[[Reversal], Awaitable[dict[str, list[Refunded]]]]  # by room


class Noted(NamedTuple):
    """What we remember of an entry until it is old enough. `gift_id` is empty if the entry is not a gift."""

    epoch: int
    n: int
    at_ms: int
    room: str
    gift_id: str
    reversal: Reversal | None = None


class Retell:
    """Finds and shows gifts that no room has shown. The room store keeps how far this has come.

    If the room store loses its latest writes, it loses this watermark with them. On a cluster the two may be on
    different primaries: when one is replaced, the whole log is checked again, as far back as it goes.
    """

    def __init__(self, history: History, clock: Clock, read_logs: ReadLogs, read_parts: ReadParts) -> None:
        self._history = history
        self._clock = clock
        self._read_logs = read_logs
        self._read_parts = read_parts
        self._read: dict[int, Position] = {}  # how far we or the drain have read the log
        self._noted: dict[int, deque[Noted]] = {}
        self._up_to_date: set[int] = set()
        self._store_identity = ""  # of the room store that `shown` is from: another one may have lost more
        self._whole = True  # no primary of the room store is away
        self._settled: set[tuple[int, int, int]] = set()  # while a primary is away: what needs no other look
        self.shown: dict[int, Position] | None = None
        self.retold = 0
        self.refunds_shown = 0

    async def begin(self) -> None:
        """Read the watermarks, once per store. After that, `note` takes what the drain reads.

        While one of a cluster's primaries is away, we show what the others can show, and keep all notes.
        Raises StoreError.
        """
        try:
            identity = self._history.store.identity
        except StoreDown:
            if self.shown is None or not self._history.store.up:
                raise
            self._whole = False
            return
        self._whole = True
        if self.shown is None or self._store_identity != identity:
            self.shown, self._store_identity = None, identity
            self.shown = await self._read_shown()
            self._read = dict(self.shown)
            self._noted = {partition: deque() for partition in self.shown}
            self._up_to_date.clear()
            self._settled.clear()

    def note(self, after: dict[int, Position], logs: Logs) -> None:
        """Note what the drain has read after `after`. If it leaves no hole, we need not read it again."""
        for partition, position in after.items():
            if partition in self._read and position <= self._read[partition] and self._has_room(partition):
                self._note(partition, logs.get(partition, []))
                self._up_to_date.add(partition)

    async def once(self) -> None:
        """One round over all partitions. The once-key prevents that a gift is shown twice. Raises StoreError.

        A note is kept until the watermark is behind it: a round that fails is made again.
        """
        await self.begin()
        assert self.shown is not None
        behind = [p for p in self._read if p not in self._up_to_date and self._has_room(p)]
        self._up_to_date.clear()
        # More than the drain takes at a time, so that we catch up with it after a start.
        with contextlib.suppress(StoreError):  # go on with what is noted
            logs = await self._read_logs({p: after(self._read[p]) for p in behind}, 2 * limits.DRAIN_BATCH)
            for partition, found in logs.items():
                self._note(partition, found)
        now_ms = self._clock.now_ms()
        waiting = {partition: _old(noted, now_ms) for partition, noted in self._noted.items()}
        old = {partition: notes for partition, notes in waiting.items() if notes}
        for partition, missing in (await self._not_shown(old, now_ms)).items():
            if not await self._retell(partition, missing):
                del old[partition]
        for partition, notes in old.items():
            for noted in notes:
                if noted.reversal and now_ms - noted.at_ms <= limits.RETELL_UNTIL_MS:
                    await self._settle(partition, noted, partial(self._take_back, noted))
        if self._whole:
            await self._forget(old)

    async def _forget(self, old: dict[int, list[Noted]]) -> None:
        """Write how far all is shown, and drop the notes up to there. Raises StoreError."""
        last = {partition: (notes[-1].epoch, notes[-1].n) for partition, notes in old.items()}
        store = self._history.store
        if store.identity != self._store_identity:
            raise StoreDown("the room store was replaced during the round")
        await asyncio.gather(*(store.call("SET", keys.shown_watermark(p), f"{e}-{n}") for p, (e, n) in last.items()))
        assert self.shown is not None
        self.shown.update(last)
        for partition, notes in old.items():
            for _ in notes:
                self._noted[partition].popleft()
        self._settled.clear()

    async def _settle(self, partition: int, noted: Noted, show: Callable[[], Awaitable[None]]) -> None:
        """Show something unless that is done. While a primary is away the rooms of the others go on.

        Raises StoreError if the store is whole.
        """
        place = (partition, noted.epoch, noted.n)
        try:
            if place not in self._settled:
                await show()
                self._settled.add(place)
        except StoreError:
            if self._whole:
                raise

    async def _read_shown(self) -> dict[int, Position]:
        partitions = range(limits.WALLET_PARTITIONS)
        store = self._history.store
        if isinstance(store, ClusterStore) and await store.call("GET", keys.SHOWN_BY) != self._store_identity.encode():
            await asyncio.gather(*(store.call("DEL", keys.shown_watermark(p)) for p in partitions))
            await store.call("SET", keys.SHOWN_BY, self._store_identity)
        found = await asyncio.gather(*(store.call("GET", keys.shown_watermark(p)) for p in partitions))
        return {p: _parse_id(value) for p, value in zip(partitions, found, strict=True)}

    def _has_room(self, partition: int) -> bool:
        return len(self._noted[partition]) < limits.RETELL_NOTED_MAX

    def _note(self, partition: int, found: Entries) -> None:
        noted, read = self._noted[partition], self._read[partition]
        for entry in found:
            if isinstance(entry, LogEntry) and (entry.epoch, entry.n) > read:  # the ledger handles unreadable entries
                about = entry.about
                kind = entry.kind
                gift_id = about.id if kind is GIFT else ""
                reversal = Reversal(about.kind, about.id, about.viewer) if kind is not None and kind.reverses else None
                noted.append(Noted(entry.epoch, entry.n, entry.at_ms, about.room or "", gift_id, reversal))
        if found:
            self._read[partition] = max(read, (found[-1].epoch, found[-1].n))

    async def _not_shown(self, old: dict[int, list[Noted]], now_ms: int) -> dict[int, list[Noted]]:
        """Gifts without a seq in their once-key, by partition and in the log's order. Raises StoreError."""
        by_room: dict[str, list[tuple[int, Noted]]] = {}
        for partition, found in old.items():
            for noted in found:
                if (partition, noted.epoch, noted.n) in self._settled:
                    continue
                if noted.gift_id and now_ms - noted.at_ms <= limits.RETELL_UNTIL_MS:  # later its once-key has expired
                    by_room.setdefault(noted.room, []).append((partition, noted))
        asked = [
            (room, gifts[first : first + limits.RETELL_ASKED])
            for room, gifts in by_room.items()
            for first in range(0, len(gifts), limits.RETELL_ASKED)
        ]
        asking = (self._shown_as(room, some) for room, some in asked)
        replies = await asyncio.gather(*asking, return_exceptions=not self._whole)
        missing: dict[int, list[Noted]] = {}
        for (_, some), seqs in zip(asked, replies, strict=True):
            if isinstance(seqs, StoreError):
                continue  # only while a primary is away
            if isinstance(seqs, BaseException):
                raise seqs
            for (partition, noted), seq in zip(some, seqs, strict=True):
                if seq is None or seq == COUNTED:
                    missing.setdefault(partition, []).append(noted)
                else:
                    self._settled.add((partition, noted.epoch, noted.n))
        return {partition: sorted(found) for partition, found in missing.items()}

    async def _shown_as(self, room: str, gifts: list[tuple[int, Noted]]) -> list[bytes | None]:
        """The seqs of a room's gifts, or None for gifts that it has not shown. Raises StoreError."""
        names = [keys.room(room, ONCE, noted.gift_id) for _, noted in gifts]
        return cast(list[bytes | None], await self._history.store.call("MGET", *names))

    async def _retell(self, partition: int, missing: list[Noted]) -> bool:
        """Read the entries again, because we noted only their positions, and show them. False: not readable now."""
        while missing:
            first, last = missing[0], missing[-1]
            try:
                logs = await self._read_logs({partition: f"{first.epoch}-{first.n}"}, limits.DRAIN_BATCH)
            except StoreError as error:
                log.info("retell_later", partition=partition, error=str(error)[: limits.LOGGED_CHARS_MAX])
                return False
            found = {(entry.epoch, entry.n): entry for entry in logs.get(partition, [])}
            read_to = max(found, default=(last.epoch, last.n))  # empty if the store has lost its latest writes
            for noted in missing:
                entry = found.get((noted.epoch, noted.n))
                if isinstance(entry, LogEntry):
                    await self._settle(partition, noted, partial(self._show, entry))
            missing = [noted for noted in missing if (noted.epoch, noted.n) > read_to]
        return True

    async def _show(self, entry: LogEntry) -> None:
        if entry.about.digest and entry.text is None:
            return  # its text was erased from the journal, and there is nothing to show
        try:
            gift = _ENTRY.decode(entry.entry)
            msgspec.json.decode(gift.show, type=GiftSent)
        except msgspec.DecodeError as error:
            log.error("gift_unreadable", entry=f"{entry.epoch}-{entry.n}", error=str(error))
            return
        try:
            if await show_gift(self._history, gift, entry.combo_count, entry.at_ms):
                self.retold += 1
                log.info("gift_retold", gift_id=gift.id, room=gift.room)
        except NoSuchRoom:
            log.warning("gift_without_room", gift_id=gift.id, room=gift.room)

    async def _take_back(self, noted: Noted) -> None:
        """Show rooms the parts of a reversal. Raises StoreError, SQLAlchemyError."""
        assert noted.reversal is not None
        for room, refunded in (await self._read_parts(noted.reversal)).items():
            for first in range(0, len(refunded), limits.SHOW_BATCH_MAX):
                some = refunded[first : first + limits.SHOW_BATCH_MAX]
                try:
                    new = await show_refunds(self._history, room, some)
                except NoSuchRoom:
                    log.warning("refund_without_room", room=room, reversal=noted.reversal.id)
                    break
                self.refunds_shown += sum(new)


def _old(noted: deque[Noted], now_ms: int) -> list[Noted]:
    """The entries whose node has had time to show them. Younger ones wait."""
    return list(itertools.takewhile(lambda each: abs(now_ms - each.at_ms) >= limits.RETELL_AFTER_MS, noted))


def drain_and_retell(
    engine: Engine, wallet: Store | ClusterStore, history: History, clock: Clock, tail: int = limits.LOG_TAIL
) -> Drain:
    """A drain that also shows rooms the gifts that no node has shown."""
    retell = Retell(history, clock, partial(read_logs, wallet), partial(_read_parts, engine, clock))
    return Drain(engine, wallet, retell, clock, tail)


async def _read_parts(engine: Engine, clock: Clock, reversal: Reversal) -> dict[str, list[Refunded]]:
    """A reversal's parts, by room. Raises SQLAlchemyError."""
    found: dict[str, list[Refunded]] = {}
    for part, gift in await ask(parts.with_gifts, engine, reversal.viewer, reversal.kind, reversal.id):
        about = _SENT.decode(gift)
        event = GiftRefunded(
            id=clock.new_id(),
            gift_id=part.gift,
            coins=part.coins,
            diamonds=part.diamonds,
            reason=_REASONS[reversal.kind],
            gift=GiftRef(about.gift),
            count=part.coins * about.count // max(1, about.coins),
        )
        refunded = Refunded(event, reversal.id, reversal.viewer, about.broadcast, about.anonymous)
        found.setdefault(about.room, []).append(refunded)
    return found


def _parse_id(value: bytes | None) -> Position:
    if value is None:
        return (0, 0)
    epoch, n = value.split(b"-")
    return int(epoch), int(n)
