"""Opens partitions on a new wallet connection: the store first gets back the entries that only the journal has.

A failover or a restored backup can leave the store behind the journal. New gifts would get log ids that the drain has
already passed. They would never be journaled, and balances would be spent twice (docs/decisions/0008-epochs.md). A
partition that cannot be opened stays closed, and the others go on.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol, TypeVar

import msgspec
import structlog
from sqlalchemy import Engine, select

from server import background, limits
from server.clock import Clock
from server.entries import OpenEntry
from server.journal import fork, moneytime, refill
from server.journal.books import START, Mark
from server.journal.database import reading
from server.journal.log import Position
from server.journal.refill import NOTHING, Broken, CannotOpen, JournalAway, LogDeleted, Refill, ask_journal
from server.journal.tables import quarantine, watermarks
from server.store import keys, scripts
from server.store.client import Arg, Link, StoreDown, StoreError, of_one_key

log = structlog.get_logger()

LOOK = scripts.load("opening_look")
OPEN = scripts.load("opening_open")
SCRIPTS = (LOOK, OPEN, *refill.SCRIPTS, moneytime.SET)

T = TypeVar("T")


class Fence(Protocol):
    """Decides which partitions may be opened on a store now."""

    async def take(self, link: Link, identity: str, opened: Mapping[int, str]) -> dict[int, str]:
        """What the store is to record for each partition that may be opened. Raises StoreDown."""


class Opened(msgspec.Struct):
    """What a connection may use: the epochs of open partitions, and why others are closed.

    `names` has what the store records for each partition that may be opened.
    """

    epochs: dict[int, str] = {}  # msgspec copies them
    closed: dict[int, CannotOpen] = {}
    names: dict[int, str] = {}

    def open(self, partition: int, epoch: str) -> None:
        """Note that a partition is open."""
        self.epochs[partition] = epoch
        if (why := self.closed.pop(partition, None)) is not None:
            log.info("partition_opened", partition=partition, epoch=epoch, trouble=str(why))

    def close(self, partition: int, why: CannotOpen) -> None:
        """Note that a partition cannot be used, and say so once."""
        before = self.closed.get(partition)
        if before is None or str(before) != str(why):
            (log.info if why.soon else log.error)("partition_closed", partition=partition, why=str(why))
        self.epochs.pop(partition, None)
        self.closed[partition] = why


class Opening:
    """Opens the wallet store's partitions."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self._refill = Refill(engine, clock)
        self._together = asyncio.Semaphore(limits.REFILL_TOGETHER)

    @property
    def replayed(self) -> int:
        """How many entries this node has put back."""
        return self._refill.replayed

    async def open(self, link: Link, identity: str, partitions: frozenset[int], fence: Fence) -> Opened:
        """Open these partitions, but fill none. Raises StoreError, also when the journal is down.

        `identity` names the store's process and its role in replication. Each partition records the identity that it
        was last opened on, and the fence's token. On any other it gets a new epoch, even if the store is not behind:
        log ids that a failover has lost are used again. On the same one it is compared all the same, because an address
        may lead to an old primary again. Only a partition that is opened already goes on without the journal.

        Partitions for which the fence still waits are left out. Those that are behind the journal are closed: `again`
        fills them, while the others go on.
        """
        done = Opened()
        found = await self._look_all(link, partitions, done)
        if partitions and not found:
            raise StoreDown("no partition's keys can be read")
        done.names = await fence.take(link, identity, {p: stored.opened for p, stored in found.items()})
        old = {p for p, name in done.names.items() if found[p].opened == name and found[p].has_time}
        try:  # before the store is looked at: other nodes' gifts may be journaled meanwhile
            marks = await self._marks(limits.OPENING_ASK_S if old else limits.SQL_ANSWER_S)
        except StoreDown:
            if not old:
                raise
            for partition in done.names:
                if partition in old:
                    done.open(partition, str(found[partition].epoch))
                else:
                    done.close(partition, CannotOpen("the journal is down", soon=True))
            return done
        await self._bring_up(link, done.names.keys(), old, marks, done, fills=False)
        await self._freeze_broken(done, partitions)
        return done

    async def again(self, link: Link, done: Opened, partitions: Collection[int]) -> None:
        """Try these closed partitions again, and fill those that are behind. Raises StoreError."""
        ours = [p for p in partitions if p in done.names]
        if ours:
            await self._bring_up(link, ours, set(), await self._marks(limits.SQL_ANSWER_S), done, fills=True)
            await self._freeze_broken(done, ours)

    async def readable(self, link: Link, partitions: Collection[int]) -> bool:
        """Whether any of these partitions can be read. Raises StoreError."""
        return bool(await self._look_all(link, partitions, Opened()))

    async def _bring_up(
        self, link: Link, ours: Collection[int], old: set[int], marks: dict[int, Mark], done: Opened, *, fills: bool
    ) -> None:
        """Open partitions, or close each with its reason. `old` are those that were open on this very store."""
        new = [p for p in ours if p not in old]
        if new:  # before receipts: the store refuses ids without its time
            time = await ask_journal(functools.partial(moneytime.read, self.engine, self.clock))
            timed = await _each(new, lambda p: link.run(moneytime.set_call(p, time)), done)
            ours = [p for p in ours if p in old or p in timed]
        found = await self._look_all(link, ours, done)
        forked = await self._freeze_forks(link, found, marks, done)
        if any(stored.opened != done.names[p] for p, stored in found.items()):
            for partition in found.keys() & await self._stuck():
                await link.call("HSET", keys.wallet_meta(partition), "frozen", "1")

        async def open_one(partition: int) -> None:
            if partition in forked:  # its receipts may be of gifts that are in no journal
                raise CannotOpen(f"it has another past than the journal: {forked[partition][1]}")
            mark = marks.get(partition, START)
            if found[partition].last < _position(mark) and not fills:
                raise CannotOpen("it is behind the journal", soon=True)
            done.open(partition, await self._open_one(link, partition, found[partition], mark, done.names[partition]))

        await _each(found, open_one, done)

    async def _freeze_forks(
        self, link: Link, found: "dict[int, _Stored]", marks: dict[int, Mark], done: Opened
    ) -> dict[int, tuple[Position, str]]:
        """Freeze the partitions whose newest common entry is not the same in store and journal, and return why."""
        ends = {p: _position(marks[p]) for p in found if p in marks}
        at = {p: min(found[p].last, end) for p, end in ends.items() if found[p].last != NOTHING}
        booked = await ask_journal(functools.partial(fork.in_journal, self.engine, at))
        rows = await fork.in_store(link, at)
        why = {p: fork.differs(rows[p], booked.get(p), position, ends[p]) for p, position in at.items()}
        forks = {p: (at[p], reason) for p, reason in why.items() if reason is not None}
        if forks:
            await ask_journal(functools.partial(fork.set_aside, self.engine, forks, self.clock))
            await _each(forks, lambda p: link.call("HSET", keys.wallet_meta(p), "frozen", "1"), done)
        return forks

    async def _freeze_broken(self, done: Opened, ours: Collection[int]) -> None:
        """Freeze the partitions that the journal cannot fill, so that the reason is named where people look."""
        found = {p: why for p in ours if isinstance(why := done.closed.get(p), Broken | LogDeleted)}
        if found:
            reasons = {p: (why.at, str(why)) for p, why in found.items()}
            await ask_journal(functools.partial(fork.set_aside, self.engine, reasons, self.clock))

    async def _look_all(self, link: Link, partitions: Collection[int], done: Opened) -> "dict[int, _Stored]":
        return await _each(partitions, functools.partial(self._look, link), done)

    async def _look(self, link: Link, partition: int) -> "_Stored":
        group: dict[str, Arg] = {
            "log": keys.log(partition),
            "meta": keys.wallet_meta(partition),
            "partition": partition,
        }
        [(epoch, last, opened, time)] = await link.run(LOOK(each=[group]))
        if epoch and not last:  # an opening writes both
            raise LogDeleted(int(epoch))
        in_epoch, _, n = last.decode().partition("-")
        return _Stored(int(epoch or 0), (int(in_epoch), int(n)) if last else NOTHING, opened.decode(), time != b"")

    async def _open_one(self, link: Link, partition: int, stored: "_Stored", mark: Mark, name: str) -> str:
        """Open a partition, and fill it first when it is behind. Raises CannotOpen, StoreError."""
        if stored.last >= _position(mark):
            return await self._mark_open(link, partition, stored, mark, name)
        async with self._together, self._refill.lease(link, partition):
            stored = await self._look(link, partition)  # another node may have filled it
            if stored.last < _position(mark):
                await self._refill.put_back(link, partition, stored.last, mark)
            return await self._mark_open(link, partition, stored, mark, name)

    async def _mark_open(self, link: Link, partition: int, stored: "_Stored", mark: Mark, name: str) -> str:
        """Begin a new epoch, unless the partition was opened on this store already. Returns its epoch."""
        if stored.opened == name and stored.last >= _position(mark):
            return str(stored.epoch)
        group: dict[str, Arg] = {
            "log": keys.log(partition),
            "meta": keys.wallet_meta(partition),
            "epoch": max(stored.epoch, stored.last[0], mark.epoch) + 1,
            "opened": name,
            "entry": msgspec.json.encode(OpenEntry(partition=partition)),
        }
        [opened] = await link.run(OPEN(each=[group]))
        if not opened:
            raise CannotOpen("its log is ahead of its epoch")
        return str(opened.decode())

    async def _marks(self, within_s: float) -> dict[int, Mark]:
        def read() -> dict[int, Mark]:
            with reading(self.engine).connect() as connection:
                return {
                    row.partition: Mark(row.epoch, row.n, row.hash) for row in connection.execute(select(watermarks))
                }

        return await ask_journal(read, within_s)

    async def _stuck(self) -> set[int]:
        """Read which partitions are frozen: a restored store has lost the flag."""

        def read() -> set[int]:
            with reading(self.engine).connect() as connection:
                return set(connection.execute(select(quarantine.c.partition)).scalars())

        return await ask_journal(read)


async def _each(partitions: Collection[int], do: Callable[[int], Awaitable[T]], done: Opened) -> dict[int, T]:
    """Do something for each partition. One that fails by itself is closed, and the others go on. Raises StoreError."""
    results = await asyncio.gather(*map(do, partitions), return_exceptions=True)
    found: dict[int, T] = {}
    for partition, result in zip(partitions, results, strict=True):
        if not isinstance(result, BaseException):
            found[partition] = result
        elif (why := _why_alone(result)) is not None:
            done.close(partition, why)
        else:
            raise result
    return found


def _why_alone(error: BaseException) -> CannotOpen | None:
    """Why an error closes only its partition, or None when it is of the whole store."""
    match error:
        case CannotOpen():
            return error
        case JournalAway():
            return CannotOpen("the journal is down", soon=True)
        case StoreError() if of_one_key(error):
            return CannotOpen(f"its keys cannot be used: {str(error)[: limits.LOGGED_CHARS_MAX]}")
        case StoreError():
            return None
        case Exception():
            background.failed("opening", error)
            return CannotOpen(f"its keys or rows cannot be read: {repr(error)[: limits.LOGGED_CHARS_MAX]}")
    return None


def _position(mark: Mark) -> Position:
    return NOTHING if mark == START else (mark.epoch, mark.n)


class _Stored(msgspec.Struct, frozen=True):
    """What the store has of a partition."""

    epoch: int
    last: Position
    opened: str
    has_time: bool
