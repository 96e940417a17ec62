"""The drain: ledger log to SQL, each entry once and in order; then the rooms are told of gifts they never showed.

One writer per partition and no consumer group: the watermark in the rows' own transaction says where to go on
(money.md, section 2.6). A second drain loses at the watermark.
"""

import asyncio
from typing import Any, cast

import msgspec
import structlog
from sqlalchemy import Engine, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.features.gifts import GiftEntry, show_gift
from server.history import History, NoSuchRoom
from server.journal.books import START, Gap, LogEntry, Mark, book, parse
from server.journal.database import reading
from server.journal.tables import entries, postings, topups, watermarks
from server.store import keys
from server.store.client import Store, StoreError

log = structlog.get_logger()

_ENTRY = msgspec.json.Decoder(GiftEntry)


class Drain:
    """Moves what is in the log into the journal, as long as it runs."""

    def __init__(self, engine: Engine, wallet: Store, history: History, clock: Clock) -> None:
        self._engine = engine
        self._wallet = wallet
        self._history = history
        self._clock = clock
        self._trimmed_at_ms = 0
        self._shown: dict[int, tuple[int, int]] | None = None
        self.journaled = 0
        self.retold = 0
        self.stuck: dict[int, str] = {}  # partition: what does not fit

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`, and then once more to the end of what is there."""
        pause_s = limits.DRAIN_IDLE_S
        while True:
            last = stopping.is_set()
            moved = await self._step()
            if last:
                return
            pause_s = limits.DRAIN_IDLE_S if moved else min(pause_s * 2, limits.DRAIN_IDLE_S_MAX)
            if moved < limits.DRAIN_BATCH:
                await _wait(stopping, pause_s)

    async def _step(self) -> int:
        moved = 0
        try:
            moved = await self.drain_once()
        except (StoreError, SQLAlchemyError) as error:
            log.warning("drain_later", error=str(error)[:300])
            await asyncio.sleep(limits.STORE_RETRY_S_MAX)
        try:
            await self.retell_once()
        except StoreError as error:
            log.info("retell_later", error=str(error)[:300])
            self._shown = None
        return moved

    # --- journal -----------------------------------------------------------------------------------------------
    async def drain_once(self) -> int:
        """One round over all partitions in one transaction; how many entries it moved."""
        marks = await asyncio.to_thread(self._marks)
        logs = await self._read_logs({p: (mark.epoch, mark.n) for p, mark in marks.items() if p not in self.stuck})
        moved = await asyncio.to_thread(self._write, marks, logs) if logs else 0
        self.journaled += moved
        if abs(self._clock.now_ms() - self._trimmed_at_ms) > limits.TRIM_EVERY_S * 1000:
            self._trimmed_at_ms = self._clock.now_ms()
            await self._trim()
        return moved

    async def _read_logs(self, after: dict[int, tuple[int, int]]) -> dict[int, list[LogEntry]]:
        asked = [
            (p, self._wallet.send("XRANGE", keys.log(p), f"({epoch}-{n}", "+", "COUNT", limits.DRAIN_BATCH))
            for p, (epoch, n) in after.items()
        ]
        replies = await asyncio.gather(*(reply for _, reply in asked))
        return {
            p: [parse(row) for row in cast(list[Any], rows)]
            for (p, _), rows in zip(asked, replies, strict=True)
            if rows
        }

    def _marks(self) -> dict[int, Mark]:
        marks = dict.fromkeys(range(limits.WALLET_PARTITIONS), START)
        with reading(self._engine).connect() as connection:
            for row in connection.execute(select(watermarks)):
                marks[row.partition] = Mark(row.epoch, row.n, row.hash)
        return marks

    def _write(self, marks: dict[int, Mark], logs: dict[int, list[LogEntry]]) -> int:
        """Rows, postings and watermarks together, or nothing; how many rows. Raises SQLAlchemyError.

        A partition whose log does not fit stops where it is; the others go on.
        """
        rows: list[dict[str, Any]] = []
        legs: list[dict[str, Any]] = []
        posted: list[dict[str, Any]] = []
        moved: dict[int, Mark] = {}
        for partition, found in logs.items():
            mark = marks[partition]
            for entry in found:
                try:
                    mark, row, its_legs = book(partition, mark, entry)
                except (Gap, msgspec.ValidationError) as error:
                    log.error("partition_stuck", partition=partition, error=str(error))
                    self.stuck[partition] = str(error)
                    break
                rows.append(row)
                legs += its_legs
                if row["kind"] == "topup":
                    posted.append({"topup": row["ref"], "after": row["balance"]})
            if mark is not marks[partition]:
                moved[partition] = mark
        if not rows:
            return 0
        with self._engine.begin() as connection:
            for partition, mark in moved.items():
                self._move_mark(connection, partition, marks[partition], mark)
            connection.execute(insert(entries), rows)
            if legs:
                connection.execute(insert(postings), legs)
            if posted:
                connection.execute(
                    update(topups)
                    .where(topups.c.id == bindparam("topup"))
                    .values(state="posted", balance=bindparam("after")),
                    posted,
                )
        return len(rows)

    def _move_mark(self, connection: Any, partition: int, before: Mark, after: Mark) -> None:
        """Only from where this drain read it: of two drains one changes no row and fails."""
        values = {"epoch": after.epoch, "n": after.n, "hash": after.hash}
        if before is START:
            connection.execute(insert(watermarks).values(partition=partition, **values))
            return
        changed = connection.execute(
            update(watermarks)
            .where(watermarks.c.partition == partition, watermarks.c.hash == before.hash)
            .values(**values)
        )
        if changed.rowcount != 1:
            raise SQLAlchemyError(f"another drain moved partition {partition}")

    # --- rooms -------------------------------------------------------------------------------------------------
    async def retell_once(self) -> None:
        """Show the gifts that no node came to show: the once-key makes a second showing nothing.

        How far the rooms were told is kept in the room store itself: if that loses its tail, so does this.
        """
        if self._shown is None:
            self._shown = await self._read_shown()
        logs = await self._read_logs(self._shown)
        now_ms = self._clock.now_ms()
        for partition, found in logs.items():
            told: LogEntry | None = None
            for entry in found:
                if abs(now_ms - entry.at_ms) < limits.RETELL_AFTER_MS:
                    break
                await self._retell(entry, now_ms)
                told = entry
            if told is not None:
                await self._history.store.call("SET", keys.shown_watermark(partition), f"{told.epoch}-{told.n}")
                self._shown[partition] = (told.epoch, told.n)

    async def _read_shown(self) -> dict[int, tuple[int, int]]:
        partitions = range(limits.WALLET_PARTITIONS)
        found = await asyncio.gather(*(self._history.store.send("GET", keys.shown_watermark(p)) for p in partitions))
        return {p: _parse_id(value) for p, value in zip(partitions, found, strict=True)}

    async def _retell(self, entry: LogEntry, now_ms: int) -> None:
        if not entry.body.startswith(b'{"kind":"gift"') or now_ms - entry.at_ms > limits.RETELL_UNTIL_MS:
            return
        gift = _ENTRY.decode(entry.body)
        if await self._history.store.call("EXISTS", keys.room_once(gift.room, gift.id)):
            return
        try:
            if await show_gift(self._history, gift, entry.combo_count):
                self.retold += 1
                log.info("gift_retold", gift_id=gift.id, room=gift.room)
        except NoSuchRoom:
            log.warning("gift_without_room", gift_id=gift.id, room=gift.room)

    async def _trim(self) -> None:
        """Of what is journaled and shown a tail stays in the store: a restored journal can go on from it."""
        marks = await asyncio.to_thread(self._marks)
        shown = self._shown or {}
        for partition, mark in marks.items():
            epoch, n = min((mark.epoch, mark.n), shown.get(partition, (0, 0)))
            if n > limits.LOG_TAIL:
                await self._wallet.call("XTRIM", keys.log(partition), "MINID", "~", f"{epoch}-{n - limits.LOG_TAIL}")


def _parse_id(value: bytes | None) -> tuple[int, int]:
    if value is None:
        return (0, 0)
    epoch, n = value.split(b"-")
    return int(epoch), int(n)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
