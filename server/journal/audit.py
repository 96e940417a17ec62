"""The audit: checks that no coin was lost, doubled or made up, in the journal and between journal and store.

`verify` checks the journal by itself, `part` compares a partition of the store with it, `findings` keeps the report.
The store is read first, with the log id at which it is read. Then the audit waits until the journal has reached that
id, and compares the store with the journal as of there: so money may move meanwhile.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.clock import Clock
from server.journal import findings, receipts, scan
from server.journal.books import LogEntry, Unreadable
from server.journal.claimed import Stray, strays
from server.journal.compare import NOTHING, SCRIPTS, StoreSide
from server.journal.database import reading
from server.journal.drifts import Drifts, Found, of_partition
from server.journal.findings import Report, Wrong, latest
from server.journal.heads import Heads
from server.journal.log import Position
from server.journal.memory import Kept, Memory
from server.journal.of_books import BooksPart
from server.journal.ordered import verify_orders
from server.journal.part import Part
from server.journal.scan import KeyScan
from server.journal.seen import with_positions
from server.journal.sums import total_of
from server.journal.tables import missing, watermarks
from server.journal.taken import TakenBack, taken_back
from server.journal.verify import look
from server.store.client import Store, StoreDown, StoreError
from server.store.cluster import ClusterStore


class StillMoving(Exception):
    """Money moves in a partition while the audit compares it."""


class Audit:
    """Audits journal and store. Between runs it remembers what is verified, and when it was."""

    def __init__(
        self, engine: Engine, wallet: Store | ClusterStore, clock: Clock, memory: Memory | None = None
    ) -> None:
        self._engine = reading(engine, limits.SQL_AUDIT_S)
        self._writing = engine
        self._store = StoreSide(wallet, clock)
        self._clock = clock
        self._scan = KeyScan(wallet)
        self.memory = memory or Memory(engine, wallet, clock)
        self._parts = [Part(partition, self.memory.heads) for partition in range(limits.WALLET_PARTITIONS)]
        self._books = BooksPart(self._engine, self.memory.heads)
        self._drifts = Drifts(engine, self.memory.heads)
        self._ran_at: float | None = None
        self._orders_ms: int | None = None  # when all orders were compared
        self._claims: list[Stray] = []  # that the scan of this run has met

    async def run(self, *, freeze: bool = False, everything: bool = True, doubts: Sequence[str] = ()) -> Report:
        """Audit all partitions: everything, or what is new and the share that is due by now.

        The first run compares all wallets and counters in any case. With `freeze`, the wrong partitions are frozen
        until `python -m server repair` thaws them. `doubts` of the caller go into the report.
        Raises StoreError, SQLAlchemyError.
        """
        if tables := await asyncio.to_thread(self._missing):
            return await asyncio.to_thread(findings.keep_missing, self._writing, self._clock.now_ms(), tables)
        remembered = await self.memory.begin()
        before = self.memory.heads.places()
        now_ms = await self._begin(everything)
        self._add(remembered)
        await asyncio.to_thread(self._books.verify, now_ms)
        left = self._parts
        while left:
            await asyncio.to_thread(self._plan, left)
            left = [part for part in left if not part.failed]
            for some in _together(left):
                await asyncio.gather(*map(self._read, some))
            await self._until_journaled(
                {part.partition: part.stored.at for part in left if part.stored and not part.why_not}
            )
            for some in _together(left):
                await asyncio.to_thread(self._settle, some)
            left = [part for part in left if part.more and not part.failed]
        self._raise_if_all_away()
        for part in self._parts:
            with _caught(part), _unless_away(part):
                await self._explain(part)
        frozen = await self._frozen()
        self._add(await self.memory.verify_slice())
        self._add(await self._orders(now_ms, everything=everything))
        drifts = await asyncio.to_thread(self._drifts.look, before, now_ms, everything=everything)
        self._add(drifts.wrong)
        taken = await asyncio.to_thread(taken_back, self._engine)
        drifts.nowhere += [*doubts, *await asyncio.to_thread(self._strays)]
        report = self._report(now_ms, frozen, await self.memory.keep(), taken, drifts)
        await asyncio.to_thread(findings.keep, self._writing, report, freeze=freeze)
        return report

    async def look(self, partition: int, waiting: Sequence[LogEntry]) -> list[Wrong]:
        """Check one partition: its journal, and all that the store has of it.

        `waiting` holds the log's entries that are not journaled yet: only the store has their effect.
        Raises StillMoving when the store's last entry is another one, StoreError, SQLAlchemyError.
        """
        part = Part(partition, Heads(self._writing, None))
        part.begin(self._clock.now_ms(), 0.0, everything=True)
        part.take(await scan.of_partition(self._store.wallet, partition), 1, 0)
        while part.more:
            await asyncio.to_thread(self._plan, [part])
            await part.read(self._store)
            if part.away:
                raise StoreDown(f"partition {partition}: {part.why_not}")
            await asyncio.to_thread(self._settle, [part], waiting)
            if part.why_not and not part.wrong:
                raise StillMoving(f"partition {partition}: {part.why_not}")
        await self._explain(part)
        part.wrong += [wrong for wrong in await asyncio.to_thread(self._verify_orders) if wrong.partition == partition]
        part.wrong += await asyncio.to_thread(self._derived_of, partition)
        return [*dict.fromkeys(part.wrong)]

    def _derived_of(self, partition: int) -> list[Wrong]:
        with self._engine.connect() as connection:
            return of_partition(connection, partition)

    def _missing(self) -> list[str]:
        with self._engine.connect() as connection:
            return missing(connection)

    def _add(self, found: list[Wrong]) -> None:
        for wrong in found:
            part = self._books if wrong.partition == limits.BOOKS else self._parts[wrong.partition]
            part.wrong.append(wrong)

    # --- the steps of a run --------------------------------------------------------------------------------------
    async def _begin(self, everything: bool) -> int:
        """Begin a run: note the time, and scan the share of the store's keys that is due. Raises StoreError."""
        now_ms, now_s = self._clock.now_ms(), asyncio.get_running_loop().time()
        passed_s = 0.0 if self._ran_at is None else now_s - self._ran_at
        self._ran_at = now_s
        self._books.begin()
        for part in self._parts:
            part.begin(now_ms, passed_s, everything=everything)
        if everything:
            self._scan.forget()
        found = await self._scan.some(self._scan.turn.share(passed_s), now_ms)
        met = sum(len(names.receipts) for names in found.values())
        one_in = 1 if everything else max(1, math.ceil(met / limits.AUDIT_RECEIPTS))
        for partition, names in found.items():
            self._parts[partition].take(names, one_in, self._scan.turns)
        self._claims = [Stray(p, id) for p, names in found.items() for id in names.claims] if everything else []
        return now_ms

    def _raise_if_all_away(self) -> None:
        """Nothing was compared, so there is nothing to report. Raises StoreDown."""
        if all(part.away for part in self._parts):
            raise StoreDown(self._parts[0].why_not)

    def _plan(self, parts: Sequence[Part]) -> None:
        with self._engine.connect() as connection:
            marks, known = _marks(connection), with_positions(connection)
            for part in parts:
                with _caught(part):
                    mark = marks.get(part.partition, NOTHING)
                    part.plan(connection, mark, positions=part.partition in known)

    async def _read(self, part: Part) -> None:
        with _caught(part):
            await part.read(self._store)

    def _settle(self, parts: Sequence[Part], waiting: Sequence[LogEntry] = ()) -> None:
        with self._engine.connect() as connection:
            marks = _marks(connection)
            starts = {part.partition: head for part in parts if (head := part.unverified) is not None}
            seen = look(connection, starts) if starts else {}
            for part in parts:
                with _caught(part):
                    mark = marks.get(part.partition, NOTHING)
                    part.settle(connection, mark, seen.get(part.partition), waiting)

    async def _until_journaled(self, wanted: dict[int, Position]) -> None:
        """Wait until the journal has reached these log ids: not for long, and less when it does not move."""
        loop = asyncio.get_running_loop()
        until_s, still_s, last = loop.time() + limits.AUDIT_WAIT_S, limits.AUDIT_STILL_S, None
        moved_s = loop.time()
        while True:
            marks, frozen = await asyncio.to_thread(self._how_far)
            behind = {p: marks.get(p) for p, at in wanted.items() if marks.get(p, NOTHING) < at and p not in frozen}
            if behind != last:
                last, moved_s = behind, loop.time()
            if not behind or loop.time() > min(until_s, moved_s + still_s):
                return
            await asyncio.sleep(limits.AUDIT_POLL_S)

    def _how_far(self) -> tuple[dict[int, Position], set[int]]:
        with self._engine.connect() as connection:
            return _marks(connection), set(findings.frozen_in(connection))

    async def _orders(self, now_ms: int, *, everything: bool) -> list[Wrong]:
        """Compare the orders with the entries, in a run over everything and once per turn."""
        if not everything and self._orders_ms is not None and now_ms - self._orders_ms < limits.AUDIT_TURN_S * 1000:
            return []
        self._orders_ms = now_ms
        return await asyncio.to_thread(self._verify_orders)

    def _verify_orders(self) -> list[Wrong]:
        with self._engine.connect() as connection:
            return verify_orders(connection)

    def _strays(self) -> list[str]:
        """Claims that only block an id. A run over everything meets all of them; they freeze nothing."""
        if not self._claims:
            return []
        with self._engine.connect() as connection:
            found = [stray.said for stray in strays(connection, self._claims)]
        return found[: limits.AUDIT_WRONG_MAX]

    # --- what was not compared, or looked odd --------------------------------------------------------------------
    async def _explain(self, part: Part) -> None:
        """Look at what follows the journal in the log, and again at receipts of entries that were not in it."""
        stored = part.stored
        if stored is None or part.behind:
            return
        for (user_id, operation), text in part.doubtful.items():
            last, held = await self._store.last_and_receipt(part.partition, user_id, operation)
            of = receipts.log_id_of(text)
            if held == text and of is not None and of > last:
                where = f"receipt:{user_id}:{operation}"
                part.wrong.append(Wrong(part.partition, where, "the store has a receipt of no entry"))
        if not part.why_not:
            return
        marks, _ = await asyncio.to_thread(self._how_far)
        mark = marks.get(part.partition, NOTHING)
        waiting = await self._store.entries(part.partition, mark, 1)
        again, _ = await asyncio.to_thread(self._how_far)
        if again.get(part.partition, NOTHING) != mark or mark >= stored.at:
            return
        if waiting:
            part.oldest_ms = self._store.age_ms(waiting[0])
        if not waiting or not _follows(mark, waiting[0]):
            what = f"entries after {mark[0]}-{mark[1]} are gone before they were journaled"
            part.wrong.append(Wrong(part.partition, "log", what))

    async def _frozen(self) -> dict[int, list[str]]:
        """Why partitions are frozen. The store must agree: one look may fall between a thaw's two steps."""
        frozen = await asyncio.to_thread(findings.frozen, self._engine)
        odd = [part for part in self._parts if part.stored and part.stored.frozen != (part.partition in frozen)]
        if not odd:
            return frozen
        await asyncio.sleep(limits.AUDIT_FLAG_S)
        frozen = await asyncio.to_thread(findings.frozen, self._engine)
        for part in odd:
            with _caught(part), _unless_away(part):
                in_store = await self._store.is_frozen(part.partition)
                if in_store != (part.partition in frozen):
                    what = "only the store says so" if in_store else "the store does not say so, the journal does"
                    part.wrong.append(Wrong(part.partition, "frozen", what))
        return frozen

    def _report(self, now_ms: int, frozen: dict[int, list[str]], kept: Kept, taken: TakenBack, drifts: Found) -> Report:
        parts, books = self._parts, self._books
        wrong = [*dict.fromkeys([*(wrong for part in parts for wrong in part.wrong), *books.wrong])]
        total = total_of([*(part.sums for part in parts), books.sums])
        checked = [
            self._scan.turn.verified_ms,
            *(ms for part in parts for ms in (part.compared_ms, part.turn.verified_ms)),
        ]
        end_ms = self._clock.now_ms()
        oldest_ms = None if None in checked else max(0, end_ms - min(ms for ms in checked if ms is not None))
        fresh = oldest_ms is not None and oldest_ms <= limits.AUDIT_OLD_S * 1000
        not_compared = {part.partition: part.why_not for part in parts if part.why_not}
        doubts = kept.doubts + drifts.nowhere + ([books.failed] if books.failed else [])
        return Report(
            ok=fresh and not (wrong or frozen or doubts) and not any(part.behind or part.failed for part in parts),
            at_ms=end_ms,
            entries=total.entries,
            coins_sold=total.bought,
            coins_spent=total.spent,
            coins_refunded=total.refunded,
            coins_charged_back=total.charged_back + taken.coins_charged_back,
            coins_charged_back_from_gifts=taken.coins_charged_back,
            coins_held=total.held,
            diamonds_awarded=total.awarded,
            diamonds_taken_back=taken.diamonds,
            partitions_compared=len(parts) - len(not_compared),
            partitions_behind=sum(part.behind for part in parts),
            not_compared=not_compared,
            not_compared_since_ms={part.partition: part.compared_ms or 0 for part in parts if part.why_not},
            wallets_compared=sum(part.wallets for part in parts),
            counters_compared=sum(part.counters for part in parts),
            receipts_compared=sum(part.receipts for part in parts),
            log_entries_compared=sum(part.log_entries for part in parts),
            oldest_check_ms=oldest_ms,
            oldest_unverified_ms=max(part.oldest_ms for part in parts),
            quarantined=sum(len(reasons) for reasons in frozen.values()),
            wrong=findings.first_of_each(wrong),
            counter=kept.counter,
            anchor=kept.anchor,
            verified_again_ms=kept.again_ms,
            derived_again_ms=drifts.since_ms,
            doubts=doubts,
            stuck={partition: reasons[0] for partition, reasons in frozen.items()},
            began_ms=now_ms,
            finished_ms=end_ms,
        )


@contextlib.contextmanager
def _caught(part: Part) -> Iterator[None]:
    """Catch what a partition raises that cannot be read: the others are audited all the same."""
    try:
        yield
    except (StoreError, SQLAlchemyError):
        raise
    except Exception as error:
        background.failed("audit-partition", error, partition=part.partition)
        part.failed, part.why_not = True, f"its audit failed: {error!r}"


@contextlib.contextmanager
def _unless_away(part: Part) -> Iterator[None]:
    """Note that a partition's store does not answer any more: the others are audited all the same."""
    try:
        yield
    except StoreError as error:
        part.away, part.why_not = True, f"its store does not answer: {error}"


def _together(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    for start in range(0, len(parts), limits.AUDIT_TOGETHER):
        yield parts[start : start + limits.AUDIT_TOGETHER]


def _marks(connection: Connection) -> dict[int, Position]:
    """How far each partition is journaled."""
    query = select(watermarks.c.partition, watermarks.c.epoch, watermarks.c.n)
    return {partition: (epoch, n) for partition, epoch, n in connection.execute(query)}


def _follows(mark: Position, entry: LogEntry | Unreadable) -> bool:
    """Whether an entry is the next one after a log id."""
    return (entry.epoch, entry.n) == (mark[0], mark[1] + 1) or (entry.epoch > mark[0] and entry.n == 0)


__all__ = ["SCRIPTS", "Audit", "Report", "StillMoving", "Wrong", "latest"]
