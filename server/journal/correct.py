"""Sets a frozen partition of the wallet store to exactly what the journal and the entries behind it say.

What is missing is put back, what differs is set, and what nobody journaled is deleted. Entries of the log are never
changed: if one differs from the journal's, the log is trimmed behind it, because the journal has all before it.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from server import limits
from server.clock import Clock
from server.journal import moneytime, receipts, right, scan, tail
from server.journal.asof import window
from server.journal.books import LogEntry
from server.journal.compare import NOTHING, Stored, StoreSide, WrongType
from server.journal.database import reading
from server.journal.log import Position
from server.journal.right import Books, Value, Wanted
from server.journal.verify import verify
from server.store import keys, scripts
from server.store.client import Arg, Store
from server.store.cluster import ClusterStore

SET = scripts.load("correct_set")
SCRIPTS = (SET,)
T = TypeVar("T")


class NotFrozen(Exception):
    """The partition is not frozen."""


class Moved(Exception):
    """The partition or its journal is not as it was looked at. The text says what is different."""


async def correct(
    engine: Engine, wallet: Store | ClusterStore, clock: Clock, partition: int, waiting: Sequence[LogEntry]
) -> list[str]:
    """Set everything that the store has of a partition. Returns what was different, in words.

    Raises NotFrozen, Moved, StoreError, SQLAlchemyError.
    """
    return await _Correction(engine, wallet, clock, partition).run(waiting)


class _Correction:
    """One correction of a partition."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock, partition: int) -> None:
        self._engine = reading(engine, limits.SQL_AUDIT_S)
        self._writing = engine
        self._wallet = wallet
        self._clock = clock
        self._store = StoreSide(wallet, clock)
        self._partition = partition
        self._changed: list[str] = []

    async def run(self, waiting: Sequence[LogEntry]) -> list[str]:
        self._books = books = await self._ask(self._verified, waiting)
        try:
            stored = await self._store.read(self._partition, [])
        except WrongType:
            stored = None
        await self._set_some(await self._ask(lambda connection: list(right.totals(connection, books, stored))))
        found = await scan.of_partition(self._wallet, self._partition)
        await self._set(list(right.strangers(self._partition, found)))
        await self._accounts(found)
        await self._receipts(found)
        await self._log()
        return self._changed

    def _verified(self, connection: Connection, waiting: Sequence[LogEntry]) -> Books:
        found = verify(connection, self._partition)
        if found.wrong:
            raise Moved(f"{found.wrong[0].where}: {found.wrong[0].what}")
        return Books(self._partition, NOTHING if found.head is None else found.head.position, found.sums, waiting)

    async def _accounts(self, found: scan.Names) -> None:
        every = sorted({*found.accounts, *self._books.accounts(), *await self._ask(self._journaled)})
        for some in _some(every, limits.AUDIT_WALLETS):
            stored = await self._store.read(self._partition, some)
            await self._set(await self._ask(self._of_accounts, some, stored))

    def _journaled(self, connection: Connection) -> list[str]:
        found: list[str] = []
        while some := window(connection, self._partition, found[-1] if found else "", limits.AUDIT_ROWS):
            found += some
        return found

    def _of_accounts(self, connection: Connection, some: Sequence[str], stored: Stored) -> list[Value]:
        return list(right.accounts(connection, self._books, some, stored))

    # --- receipts ----------------------------------------------------------------------------------------------
    async def _receipts(self, found: scan.Names) -> None:
        needed = await self._needed()
        at: Position = NOTHING
        while rows := await self._ask(self._rows_after, at):
            at = (rows[-1].epoch, rows[-1].n)
            await self._due(rows, needed)
        await self._due(right.waiting_rows(self._books), needed)
        for some in _some(found.receipts, limits.AUDIT_WALLETS):
            held = await self._store.receipts(some)
            left = await self._ask(right.known, self._books, some)
            await self._set(list(right.differing(self._partition, left, held, [key for key in some if key in held])))

    async def _due(self, rows: Sequence[tail.Row], needed: receipts.Needed) -> None:
        left = right.due(rows, needed)
        wanted: list[Wanted] = [*left]
        held = await self._store.receipts(wanted)
        await self._set(list(right.differing(self._partition, left, held, wanted)))

    def _rows_after(self, connection: Connection, at: Position) -> list[tail.Row]:
        return tail.rows_after(connection, self._partition, at, self._books.mark, limits.AUDIT_WALLETS)

    async def _needed(self) -> receipts.Needed:
        """As a refill puts them back."""
        time = await asyncio.to_thread(moneytime.read, self._writing, self._clock)
        forgot = await self._wallet.call("HGET", keys.wallet_meta(self._partition), "forgot")
        return receipts.Needed(time.receipts_from_ms if forgot is None else int(forgot), time.now_ms)

    # --- the log -----------------------------------------------------------------------------------------------
    async def _log(self) -> None:
        """Trim the log behind the last entry that is not the journal's."""
        last: Position | None = None
        at: Position = NOTHING
        while log := await self._store.entries(self._partition, at, limits.AUDIT_LOG):
            here = [entry for entry in log if (entry.epoch, entry.n) <= self._books.mark]
            for wrong in await self._ask(lambda c, here=here: [*tail.log_differs(c, self._partition, here)]):
                epoch, _, n = wrong.where.partition("-")
                last = max(last or NOTHING, (int(epoch), int(n)))
            if len(here) < len(log) or len(log) == 1:
                break
            at = (log[-2].epoch, log[-2].n)  # a gap between two windows shows
        if last is not None:
            trimmed = f"{last[0]}-{last[1]}"
            await self._wallet.call("XTRIM", keys.log(self._partition), "MINID", f"{last[0]}-{last[1] + 1}")
            self._changed.append(f"{keys.log(self._partition)} up to {trimmed} -> nothing")

    # --- both sides --------------------------------------------------------------------------------------------
    async def _ask(self, read: Callable[..., T], *args: Any) -> T:
        def asked() -> T:
            with self._engine.connect() as connection:
                return read(connection, *args)

        return await asyncio.to_thread(asked)

    async def _set(self, values: Sequence[Value]) -> None:
        for some in _some(values, limits.REPLAY_BATCH):
            await self._set_some(some)

    async def _set_some(self, values: Sequence[Value]) -> None:
        last = "" if self._books.last == NOTHING else "{}-{}".format(*self._books.last)
        each: list[dict[str, Arg]] = [value._asdict() for value in values]
        call = SET(log=keys.log(self._partition), meta=keys.wallet_meta(self._partition), last=last, each=each)
        reply = cast(list[Any], await self._wallet.run(*call))
        if reply[0] == b"not_frozen":
            raise NotFrozen
        if reply[0] == b"moved":
            raise Moved(f"the last entry of the store is no longer {last}")
        self._changed += [text.decode(errors="replace") for text in reply[1:]]


def _some(all_: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]
