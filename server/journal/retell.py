"""Gifts that no node came to show: read from the ledger log again, and shown in their rooms once."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from protocol.gifts import GiftSent
from server import limits
from server.clock import Clock
from server.features.gifts import GiftEntry, show_gift
from server.history import History, NoSuchRoom
from server.journal.books import LogEntry
from server.journal.ledger import Logs
from server.store import keys

log = structlog.get_logger()

_ENTRY = msgspec.json.Decoder(GiftEntry)
ReadLogs = Callable[[dict[int, tuple[int, int]]], Awaitable[Logs]]


class Retell:
    """How far the rooms were told is kept in the room store itself: if that loses its tail, so does this."""

    def __init__(self, history: History, clock: Clock, read_logs: ReadLogs) -> None:
        self._history = history
        self._clock = clock
        self._read_logs = read_logs
        self.shown: dict[int, tuple[int, int]] | None = None
        self.retold = 0

    async def once(self) -> None:
        """One round over all partitions; the once-key makes a second showing nothing. Raises StoreError."""
        if self.shown is None:
            self.shown = await self._read_shown()
        logs = await self._read_logs(self.shown)
        now_ms = self._clock.now_ms()
        for partition, found in logs.items():
            readable = [entry for entry in found if isinstance(entry, LogEntry)]  # the ledger sets the others aside
            old = [entry for entry in readable if abs(now_ms - entry.at_ms) >= limits.RETELL_AFTER_MS]
            if not old:
                continue
            await self._retell_missing([entry for entry in old if _is_gift(entry, now_ms)])
            last = (old[-1].epoch, old[-1].n)
            await self._history.store.call("SET", keys.shown_watermark(partition), f"{last[0]}-{last[1]}")
            self.shown[partition] = last

    async def _read_shown(self) -> dict[int, tuple[int, int]]:
        partitions = range(limits.WALLET_PARTITIONS)
        found = await asyncio.gather(*(self._history.store.send("GET", keys.shown_watermark(p)) for p in partitions))
        return {p: _parse_id(value) for p, value in zip(partitions, found, strict=True)}

    async def _retell_missing(self, found: list[LogEntry]) -> None:
        gifts = []
        for entry in found:
            try:
                gift = _ENTRY.decode(entry.body)
                msgspec.json.decode(gift.show, type=GiftSent)
            except msgspec.DecodeError as error:
                log.error("gift_unreadable", entry=f"{entry.epoch}-{entry.n}", error=str(error))
                continue
            gifts.append((gift, entry.combo_count))
        asked = [self._history.store.send("EXISTS", keys.room_once(gift.room, gift.id)) for gift, _ in gifts]
        for (gift, combo_count), there in zip(gifts, await asyncio.gather(*asked), strict=True):
            if there:
                continue
            try:
                if await show_gift(self._history, gift, combo_count):
                    self.retold += 1
                    log.info("gift_retold", gift_id=gift.id, room=gift.room)
            except NoSuchRoom:
                log.warning("gift_without_room", gift_id=gift.id, room=gift.room)


def _is_gift(entry: LogEntry, now_ms: int) -> bool:
    """A gift whose once-key is still remembered: an older one may have been shown, and is not shown again."""
    return entry.body.startswith(b'{"kind":"gift"') and now_ms - entry.at_ms <= limits.RETELL_UNTIL_MS


def _parse_id(value: bytes | None) -> tuple[int, int]:
    if value is None:
        return (0, 0)
    epoch, n = value.split(b"-")
    return int(epoch), int(n)
