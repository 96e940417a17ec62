"""Money time: the time that decides whether a gift's id is too old, and on which day coins are spent.

A receipt that is forgotten too early lets a gift be paid twice, so no wall clock may move this time by a jump. The
journal process moves it by the machine's uptime, in SQL and then in the wallet store. It only moves forward
(docs/decisions/0018-money-time.md).
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, Table, func, literal, select, update
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock, Uptime
from server.entries import KINDS, NUMBER_MAX, TOPUP
from server.journal import claimed
from server.journal.bulk import insert_once
from server.journal.database import ask, reading
from server.journal.tables import money_time, reversals, topups
from server.store import keys, scripts
from server.store.client import Arg, Store, StoreError, of_one_key
from server.store.cluster import ClusterStore
from server.store.scripts import Call

log = structlog.get_logger()

SET = scripts.load("moneytime_set")
FORGET = scripts.load("moneytime_forget")
SCRIPTS = (SET, FORGET, *claimed.SCRIPTS)
ROW = 1  # the table has one


class Time(Struct, frozen=True):
    """The row of money time; tables.py says what its columns are."""

    now_ms: int
    boot: str
    uptime_ms: int
    wall_ms: int
    agreed_ms: int
    owed_ms: int
    settled_ms: int
    next_ms: int
    next_in_ms: int
    orders_ms: int

    @property
    def floor_ms(self) -> int:
        """Ids of gifts up to this time are refused, unless there is a receipt."""
        return self.now_ms - limits.GIFT_ID_LIFE_MS

    @property
    def receipts_from_ms(self) -> int:
        """No receipt of an older id is needed any more."""
        return self.floor_ms - limits.RECEIPT_MARGIN_MS


class Walls(NamedTuple):
    """What wall clocks say: the earliest and the latest of this process and the database's server."""

    earliest_ms: int
    latest_ms: int


def begun(wall_ms: int) -> Time:
    """Money time at the first start of a site."""
    return Time(
        now_ms=wall_ms,
        boot="",
        uptime_ms=0,
        wall_ms=wall_ms,
        agreed_ms=0,
        owed_ms=0,
        settled_ms=0,
        next_ms=wall_ms,
        next_in_ms=limits.RECEIPT_MARGIN_MS,
        orders_ms=wall_ms - limits.ORDER_RECEIPT_MS,
    )


def moved(was: Time, boot: str, uptime_ms: int, walls: Walls) -> Time:
    """Move money time by what the machine has run since the last move.

    It never passes all wall clocks: if it is ahead of them, it waits, and that is owed. When the machine starts, nobody
    knows how long it was off, so everything is owed. Debts are paid when wall clocks and uptime have agreed for some
    minutes: after a start somebody sets the clock first.
    """
    known = boot == was.boot and uptime_ms >= was.uptime_ms
    elapsed_ms = uptime_ms - was.uptime_ms if known else 0
    step_ms = min(elapsed_ms, max(0, walls.latest_ms - was.now_ms))
    now_ms = was.now_ms + step_ms
    owed_ms = min(was.owed_ms + elapsed_ms - step_ms, NUMBER_MAX) if known else NUMBER_MAX
    agree = known and abs(walls.earliest_ms - was.wall_ms - elapsed_ms) <= limits.MONEY_TIME_DRIFT_MS
    agreed_ms = was.agreed_ms + elapsed_ms if agree else 0
    if agreed_ms >= limits.MONEY_TIME_AGREED_MS:
        now_ms += min(owed_ms, max(0, walls.earliest_ms - now_ms))
        owed_ms = 0 if now_ms <= walls.latest_ms else owed_ms
    settled_ms, next_ms, next_in_ms = was.settled_ms, was.next_ms, was.next_in_ms - elapsed_ms
    if next_in_ms <= 0:
        settled_ms, next_ms, next_in_ms = next_ms, now_ms, limits.RECEIPT_MARGIN_MS
    return Time(
        now_ms=now_ms,
        boot=boot,
        uptime_ms=uptime_ms,
        wall_ms=walls.earliest_ms,
        agreed_ms=agreed_ms,
        owed_ms=owed_ms,
        settled_ms=settled_ms,
        next_ms=next_ms,
        next_in_ms=next_in_ms,
        orders_ms=was.orders_ms,
    )


# --- in SQL ----------------------------------------------------------------------------------------------------------
_ROW = select(*(money_time.c[name] for name in Time.__struct_fields__)).where(money_time.c.id == ROW)


def read(engine: Engine, clock: Clock) -> Time:
    """Read money time, which begins now if the site has none. Raises SQLAlchemyError."""
    with reading(engine).connect() as connection:
        row = connection.execute(_ROW).one_or_none()
    if row is not None:
        return Time(*row)
    with engine.begin() as connection:
        first = begun(_walls(connection, clock).earliest_ms)
        insert_once(connection, money_time, {"id": ROW, **msgspec.structs.asdict(first)})
        return Time(*connection.execute(_ROW).one())


def move(engine: Engine, clock: Clock, uptime: Uptime) -> Time:
    """Move money time in SQL. Of two processes that do it at once, one changes nothing. Raises SQLAlchemyError."""
    was = read(engine, clock)
    with engine.begin() as connection:
        now = moved(was, uptime.boot, uptime.now_ms(), _walls(connection, clock))
        unmoved = (money_time.c.id == ROW, money_time.c.now_ms == was.now_ms, money_time.c.boot == was.boot)
        same = (*unmoved, money_time.c.uptime_ms == was.uptime_ms)
        changed = connection.execute(update(money_time).where(*same).values(msgspec.structs.asdict(now)))
        return now if changed.rowcount == 1 else was


def _walls(connection: Connection, clock: Clock) -> Walls:
    """What this process's clock and the database server's say. SQLite has no other than ours."""
    own_ms = clock.now_ms()
    if connection.dialect.name == "sqlite":
        return Walls(own_ms, own_ms)
    server_ms = int(connection.execute(select(func.clock_timestamp())).scalar_one().timestamp() * 1000)
    return Walls(min(own_ms, server_ms), max(own_ms, server_ms))


# --- in the wallet store ---------------------------------------------------------------------------------------------
def set_call(partition: int, now: Time) -> Call:
    """The call that gives a partition its time, unless it is further."""
    return SET(
        meta=keys.wallet_meta(partition),
        now_ms=now.now_ms,
        forgot_ms=max(0, now.receipts_from_ms),
        id_ahead_ms=limits.GIFT_ID_AHEAD_MS,
    )


class Mover:
    """Moves money time in SQL and in the wallet store, and deletes receipts that nobody can need any more."""

    def __init__(self, engine: Engine, wallet: Store | ClusterStore, clock: Clock, uptime: Uptime) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._uptime = uptime
        self._claims = claimed.Claims(engine, wallet)
        self.forgotten = 0  # hashes of receipts

    async def run(self) -> None:
        """Move it as long as the process lives."""
        while True:
            try:
                await self.once()
            except (StoreError, SQLAlchemyError) as error:
                log.warning("money_time_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
            await asyncio.sleep(limits.MONEY_TIME_S)

    async def once(self) -> Time:
        """One step: first SQL, which has to know what the store may forget. Raises StoreError, SQLAlchemyError."""
        now = await ask(move, self._engine, self._clock, self._uptime)
        partitions = range(limits.WALLET_PARTITIONS)
        await _each(self._wallet.run(*set_call(partition, now)) for partition in partitions)
        await _each(self._forget(partition, now) for partition in partitions)
        await self._claims.once(await self._forget_orders(now))
        return now

    async def _forget(self, partition: int, now: Time) -> None:
        """Delete a partition's oldest receipts: those that were below the floor already ten minutes ago.

        After a jump of money time ids are below the floor that were taken a moment before. Their senders get so long
        to ask again.
        """
        forgot = await self._wallet.call("HGET", keys.wallet_meta(partition), "forgot")
        until_ms = min(now.settled_ms - limits.GIFT_ID_LIFE_MS, now.receipts_from_ms)
        first = int(forgot or 0) // limits.RECEIPTS_MS
        last = min(until_ms // limits.RECEIPTS_MS, first + limits.FORGET_BATCH)
        each: list[dict[str, Arg]] = [
            {"receipts": keys.receipts(partition, n * limits.RECEIPTS_MS), "end_ms": (n + 1) * limits.RECEIPTS_MS}
            for n in range(first, last)
        ]
        if forgot is not None and each:
            deleted = await self._wallet.run(
                *FORGET(
                    meta=keys.wallet_meta(partition),
                    id_life_ms=limits.GIFT_ID_LIFE_MS,
                    margin_ms=limits.RECEIPT_MARGIN_MS,
                    each=each,
                )
            )
            self.forgotten += deleted  # after the await: other partitions count meanwhile

    async def _forget_orders(self, now: Time) -> int:
        """Delete receipts and claims of orders that SQL has had as posted for long. A pending order's stay.

        Returns up to which time they are forgotten.
        """
        until_ms, names = await ask(self._old_orders, now)
        if until_ms > now.orders_ms:
            await _each(self._wallet.call("UNLINK", name) for name in names)
            await ask(self._note_orders, until_ms)
        return max(until_ms, now.orders_ms)

    def _old_orders(self, now: Time) -> tuple[int, list[str]]:
        """Until when orders may be forgotten in this step, and the keys of their receipts and claims."""
        until_ms, found = now.now_ms - limits.ORDER_RECEIPT_MS, list[OldOrder]()
        with reading(self._engine).connect() as connection:
            for table, columns in _OLD_ORDERS:
                at_ms = table.c.at_ms
                query = select(*columns).where(table.c.state == "posted", at_ms > now.orders_ms, at_ms <= until_ms)
                query = query.order_by(at_ms).limit(limits.FORGET_ORDERS_BATCH)
                some = [OldOrder(*row) for row in connection.execute(query)]
                if len(some) == limits.FORGET_ORDERS_BATCH:  # of the last time there may be more
                    until_ms = min(until_ms, max(some[-1].at_ms - 1, some[0].at_ms))
                found += some
        old = [order for order in found if order.at_ms <= until_ms]
        names = [keys.receipt(order.user_id, KINDS[order.kind].operation(order.ref)) for order in old]
        return until_ms, names + [keys.claim(order.ref) for order in old if order.kind == TOPUP.name]

    def _note_orders(self, until_ms: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(money_time).where(money_time.c.id == ROW).values(orders_ms=until_ms))


class OldOrder(NamedTuple):
    """An order whose receipt may be deleted."""

    kind: str
    user_id: str
    ref: str
    at_ms: int


_OLD_ORDERS: tuple[tuple[Table, tuple[ColumnElement[Any], ...]], ...] = (
    (topups, (literal(TOPUP.name), topups.c.user_id, topups.c.id, topups.c.at_ms)),
    (reversals, (reversals.c.kind, reversals.c.user_id, reversals.c.ref, reversals.c.at_ms)),
)
assert {table.name for table, _ in _OLD_ORDERS} == {kind.order for kind in KINDS.values() if kind.order}


async def _each(calls: Iterable[Awaitable[object]]) -> None:
    """Make all calls, also when one fails: on a cluster one primary may be away. Raises the first StoreError.

    A partition whose keys cannot be used stays behind, and is not mentioned again: nodes and audits name it.
    """
    for done in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(done, BaseException) and not of_one_key(done):
            raise done
