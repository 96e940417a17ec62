"""The drain: moves the ledger log to SQL, each entry once and in order, and shows gifts that no node has shown.

Each partition has one writer and no consumer group. The watermark is in the transaction of the rows and says where to
continue (docs/decisions/0006-ledger-log-and-drain.md). A second drain fails at the watermark.
"""

import asyncio
import contextlib
from collections.abc import Set
from typing import Protocol

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal.books import Mark
from server.journal.ledger import Batch, Ledger, Logs
from server.journal.log import Position, after, read_opened, read_some
from server.store import fitness, keys
from server.store.client import Arg, Store, StoreError, StoreRefused
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class Retelling(Protocol):
    """Shows gifts in rooms that no node has shown. The journal does not know rooms, so its caller passes this in."""

    retold: int

    @property
    def shown(self) -> dict[int, Position] | None:
        """For each partition: the log id up to which all gifts are shown, or None while that is unknown."""

    async def begin(self) -> None:
        """Read how far gifts are shown. Raises StoreError."""

    def note(self, after: dict[int, Position], logs: Logs) -> None:
        """Take note of the entries that the drain has read behind `after`."""

    async def once(self) -> None:
        """Show the gifts and reversals that are old enough. Raises StoreError, SQLAlchemyError."""


class Drain:
    """Moves entries from the log into the journal. `stuck` says why partitions are frozen, `unread` why others wait."""

    def __init__(
        self,
        engine: Engine,
        wallet: Store | ClusterStore,
        retell: Retelling,
        clock: Clock,
        tail: int = limits.LOG_TAIL,
    ) -> None:
        self._ledger = Ledger(engine, clock)
        self._wallet = wallet
        self.clock = clock
        self._tail = tail
        self._retell = retell
        self._trimmed_at_ms = 0
        self._frozen: set[int] = set()
        self._strangers: set[int] = set()  # partitions whose store is not the one that may take money
        self._backlog = False
        self._refused: str | None = None  # what the store said when it last refused a command
        self._whole_s = clock.boot_s()  # when the journal last had the whole log
        self._stopping = asyncio.Event()
        self.began = asyncio.Event()  # once a first call has succeeded
        self.journaled = 0
        self.stuck: dict[int, str] = {}
        self.unread: dict[int, str] = {}

    @property
    def retold(self) -> int:
        return self._retell.retold

    @property
    def lag_s(self) -> float:
        """How long ago the journal last had the whole log, but for partitions that are frozen, unread or wait."""
        return self.clock.boot_s() - self._whole_s

    @property
    def waiting(self) -> int:
        """How many partitions wait until a node has opened them on the store that counts."""
        return len(self._strangers)

    async def run(self, stopping: asyncio.Event) -> None:
        """Drain until `stopping`, and then one round more: there may be no time for a whole backlog."""
        self._stopping = stopping
        pause_s = limits.DRAIN_IDLE_S
        while True:
            last = stopping.is_set()
            moved = await self._step()
            if last:
                return
            pause_s = limits.DRAIN_IDLE_S if moved else min(pause_s * 2, limits.DRAIN_IDLE_S_MAX)
            if not self._backlog:
                await _wait(stopping, pause_s)

    async def _step(self) -> int:
        moved = 0
        try:
            moved = await self.drain_once()
            self.began.set()
            self._refused = None
        except (StoreError, SQLAlchemyError) as error:
            self._say_later(error)
            await asyncio.sleep(limits.STORE_RETRY_S_MAX)
        try:
            await self.retell_once()
        except (StoreError, SQLAlchemyError) as error:
            log.info("retell_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
        return moved

    def _say_later(self, error: StoreError | SQLAlchemyError) -> None:
        """Say why nothing is drained now. What only a person can change, a missing right, is said once."""
        why = str(error)[: limits.LOGGED_CHARS_MAX]
        if not isinstance(error, StoreRefused) or fitness.refused(why) is None:
            log.warning("drain_later", error=why)
        elif why != self._refused:
            log.error("drain_refused", why=why)
            self._refused = why

    async def drain_once(self) -> int:
        """Drain a few rounds at most. Returns the number of entries moved. Raises StoreError, SQLAlchemyError."""
        before = self.journaled
        try:
            await self._drain()
        except BaseException:
            self._ledger.forget()
            raise
        if abs(self.clock.now_ms() - self._trimmed_at_ms) > limits.TRIM_EVERY_S * 1000:
            self._trimmed_at_ms = self.clock.now_ms()
            await self._trim()
        return self.journaled - before

    async def _drain(self) -> None:
        """Run rounds, each one transaction over all partitions. While one is written the next is read and checked."""
        marks, self.stuck = await asyncio.to_thread(self._ledger.begin)
        await self.freeze(self.stuck)
        await self._thaw(self._frozen - self.stuck.keys())
        with contextlib.suppress(StoreError):  # the journal goes on without the room store
            await self._retell.begin()
        batch = await self._prepare({p: mark for p, mark in marks.items() if p not in self.stuck})
        for rounds_left in reversed(range(limits.DRAIN_ROUNDS_MAX)):
            if batch is None:
                self._backlog, self._whole_s = False, self.clock.boot_s()
                return
            unread = batch.unread(limits.DRAIN_BATCH)
            self._backlog = bool(unread)
            batch = await self._write(batch, unread if rounds_left and not self._stopping.is_set() else {})

    async def _prepare(self, marks: dict[int, Mark]) -> Batch | None:
        """Prepare the entries behind these marks, if there are any. Raises StoreError, SQLAlchemyError."""
        positions = {partition: (mark.epoch, mark.n) for partition, mark in marks.items()}
        start = {p: after(each) for p, each in positions.items()}
        (logs, unread), opened = await asyncio.gather(  # sent together, so both replies come from one store
            read_some(self._wallet, start, limits.DRAIN_BATCH),
            read_opened(self._wallet, self._ledger.held.keys() & start),
        )
        self._note_unread(start.keys(), unread)
        logs = self._without_strangers(logs, opened)
        self._retell.note(positions, logs)
        return await asyncio.to_thread(self._ledger.prepare, marks, logs) if logs else None

    def _without_strangers(self, logs: Logs, opened: dict[int, str]) -> Logs:
        """Leave out logs of a store that another has replaced, or that nobody has opened yet."""
        strangers = {p for p, name in opened.items() if name != self._ledger.held[p].name}
        if strangers != self._strangers:
            log.warning("drain_waits_for_opening", partitions=sorted(strangers))
            self._strangers = strangers
        unknown = self._ledger.held.keys() - opened.keys()
        return {p: found for p, found in logs.items() if p not in strangers and p not in unknown}

    def _note_unread(self, asked: Set[int], unread: dict[int, StoreError]) -> None:
        """Say once that partitions cannot be read. Raises StoreError when it is all of them."""
        if asked and len(unread) == len(asked):
            raise next(iter(unread.values()))
        for partition, error in unread.items():
            if partition not in self.unread:
                log.error("partition_unread", partition=partition, error=str(error)[: limits.LOGGED_CHARS_MAX])
            self.unread[partition] = str(error)
        for partition in (asked - unread.keys()) & self.unread.keys():
            log.warning("partition_read_again", partition=partition)
            del self.unread[partition]

    async def _write(self, batch: Batch, unread: dict[int, Mark]) -> Batch | None:
        """Write a batch and prepare the next, which needs this write to succeed. Raises StoreError, SQLAlchemyError."""
        writing, meanwhile = asyncio.to_thread(self._ledger.write, batch), self._prepare_next(unread)
        written, ahead = await asyncio.gather(writing, meanwhile, return_exceptions=True)
        if isinstance(written, (IntegrityError, DataError)):
            self._ledger.forget()
            self.journaled += await asyncio.to_thread(self._ledger.write_one_by_one, batch.logs)
            return None
        if isinstance(written, BaseException):
            raise written
        self.journaled += written
        if isinstance(ahead, BaseException):
            raise ahead
        return ahead

    async def _prepare_next(self, unread: dict[int, Mark]) -> Batch | None:
        """Prepare the next batch of a backlog, and show gifts meanwhile. Raises StoreError, SQLAlchemyError."""
        if not unread:
            return None
        batch = await self._prepare(unread)
        with contextlib.suppress(StoreError, SQLAlchemyError):  # the next retell_once reports it
            await self._retell.once()
        return batch

    async def retell_once(self) -> None:
        """Show gifts that no node has shown, and what was taken back. Raises StoreError, SQLAlchemyError."""
        await self._retell.once()

    async def freeze(self, partitions: dict[int, str]) -> None:
        """Stop all money in partitions with a misfit. The others go on. A later round repeats what does not succeed."""
        for partition, reason in partitions.items():  # in each round, because a restored store has lost the flag
            if not await self._try("HSET", keys.wallet_meta(partition), "frozen", "1"):
                continue
            if partition not in self._frozen:
                log.error("partition_frozen", partition=partition, reason=reason)
                self._frozen.add(partition)

    async def _thaw(self, partitions: set[int]) -> None:
        """Thaw partitions that were repaired. The repair did so too, but our last `freeze` may have come after it."""
        for partition in partitions:
            if await self._try("HDEL", keys.wallet_meta(partition), "frozen"):
                log.info("partition_thawed", partition=partition)
                self._frozen.discard(partition)

    async def _try(self, *command: Arg) -> bool:
        """Run a command of one partition. Its primary may be away, or its key of another type: the others go on."""
        try:
            await self._wallet.call(*command)
        except StoreError as error:
            log.debug("partition_later", key=command[1], error=str(error)[: limits.LOGGED_CHARS_MAX])
            return False
        return True

    async def _trim(self) -> None:
        """Trim what is journaled and shown, but keep a tail: a restored journal can continue from it."""
        marks = await asyncio.to_thread(self._ledger.marks)
        shown = self._retell.shown or {}
        for partition, mark in marks.items():
            epoch, n = min((mark.epoch, mark.n), shown.get(partition, (0, 0)))
            if n > self._tail:
                await self._try("XTRIM", keys.log(partition), "MINID", "~", f"{epoch}-{n - self._tail}")
                continue
            with contextlib.suppress(StoreError):
                await self._trim_older(partition, epoch, n)

    async def _trim_older(self, partition: int, epoch: int, n: int) -> None:
        """Trim earlier epochs, when the tail reaches into them. Each opening begins an epoch. Raises StoreError.

        The numbers of an epoch have no holes. If the oldest epoch has fewer entries than are too many, it goes as a
        whole and a later call takes the next. Not `~`: one node of the stream may hold entries of several epochs.
        """
        log_key = keys.log(partition)
        length = int(await self._wallet.call("XLEN", log_key))  # first: entries that come now do not count
        newest = await self._wallet.call("XREVRANGE", log_key, "+", "-", "COUNT", 1)
        oldest = await self._wallet.call("XRANGE", log_key, "-", "+", "COUNT", 1)
        if not newest or not oldest:
            return
        in_epoch, last = (int(part) for part in newest[0][0].split(b"-"))
        too_many = length - (last + 1) - (self._tail - n)
        if in_epoch == epoch and too_many > 0:
            first_epoch, first = (int(part) for part in oldest[0][0].split(b"-"))
            if first_epoch < epoch:
                await self._wallet.call("XTRIM", log_key, "MINID", f"{first_epoch}-{first + too_many}")


def tail_of(log_entries_max: int) -> int:
    """How many journaled entries of a partition to keep, so that a log that was full has room again."""
    return min(limits.LOG_TAIL, log_entries_max // 2 // limits.WALLET_PARTITIONS)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
