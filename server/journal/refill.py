"""Puts back what only the journal has: one node at a time for each partition, and only rows whose chain is whole.

A lease in the wallet store says which node fills a partition. Each batch of rows is verified before the store gets it:
a wrong row would otherwise become somebody's balance.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec
import structlog
from msgspec import ValidationError
from sqlalchemy import Connection, Engine, Select, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.entries import KINDS, Also, Kind, Receipt
from server.journal import moneytime, receipts
from server.journal.books import (
    COLUMNS,
    START,
    VERSION,
    EntryRow,
    Mark,
    Misfit,
    Positions,
    Rows,
    WrongRow,
    book,
    entry_of,
)
from server.journal.database import ask, reading
from server.journal.log import Position
from server.journal.tables import entries
from server.journal.texts import digest, join
from server.store import keys, scripts
from server.store.client import Arg, Link, StoreDown, StoreError
from server.store.scripts import Call

log = structlog.get_logger()

LEASE = scripts.load("refill_lease")
RELEASE = scripts.load("refill_release")
REPLAY = scripts.load("refill_replay")
SCRIPTS = (LEASE, RELEASE, REPLAY)

NOTHING = (0, -1)  # before the first log id of the first epoch
_TOKEN_BYTES = 8

T = TypeVar("T")


class CannotOpen(Exception):
    """Why a partition cannot be opened now. `soon`: it waits for another node or for SQL, and not for a person."""

    def __init__(self, why: str, *, soon: bool = False) -> None:
        super().__init__(why)
        self.soon = soon


class Broken(CannotOpen):
    """The journal's row at `at` is wrong, so that nothing may be put back from there on."""

    def __init__(self, at: Position, what: str) -> None:
        super().__init__(f"{at[0]}-{at[1]}: {what}")
        self.at = at


class LogDeleted(CannotOpen):
    """The log is gone, and other keys of the partition are not: totals and spendings put back would count twice."""

    def __init__(self, epoch: int) -> None:
        super().__init__("its log was deleted, and its other keys were not: delete those, too, and it is filled again")
        self.at: Position = (epoch, 0)


class JournalAway(StoreDown):
    """The journal does not answer, so nobody can check the wallet store."""


async def ask_journal(read: Callable[[], T], within_s: float = limits.SQL_ANSWER_S) -> T:
    """Read in a thread. Raises JournalAway."""
    try:
        return await ask(read, within_s=within_s)
    except SQLAlchemyError as error:
        log.debug("opening_waits_for_journal", error=str(error)[: limits.LOGGED_CHARS_MAX])
        raise JournalAway("the journal is down, so nobody can check the wallet store") from None


# --- verifying -------------------------------------------------------------------------------------------------------
class _Known(Positions):
    """Balances along the rows. Of an account that moved before them, the first balance is believed."""

    def expect(self, account: str, by: int, balance: int | None) -> None:
        if self.mark != START and account not in self.now and balance is not None:
            self.now[account] = balance - by
        super().expect(account, by, balance)


class Chain:
    """Follows a partition's rows from one that is known, and finds the first that cannot follow."""

    def __init__(self, partition: int, start: Mark = START, version: int = 1) -> None:
        self.mark = start
        self._partition = partition
        self._version = version
        self._known = _Known(start)

    @property
    def position(self) -> Position:
        return NOTHING if self.mark == START else (self.mark.epoch, self.mark.n)

    def follow(self, columns: Sequence[Any]) -> EntryRow:
        """Take the next row. Raises Broken, CannotOpen for what only a newer program knows."""
        row = EntryRow(*columns)
        at = (row.epoch, row.n)
        if row.version > VERSION:
            raise CannotOpen(f"{at[0]}-{at[1]} is of version {row.version}, which only a newer program can put back")
        if row.version < self._version:
            raise Broken(at, f"version {row.version} of the chain after version {self._version}")
        try:
            self.mark = self._book(row, columns)
        except WrongRow as wrong:
            raise Broken(at, str(wrong).partition(": ")[2]) from None
        except (Misfit, ValidationError) as error:
            raise Broken(at, str(error)) from None
        self._version = row.version
        return row

    def _book(self, row: EntryRow, columns: Sequence[Any]) -> Mark:
        """Make the row again from what is canonical in it. Returns its mark."""
        entry, at, ours = entry_of(row), (row.epoch, row.n), Rows()
        if entry.kind is None:
            raise CannotOpen(f"the journal has a {entry.about.kind}, which only a newer program can put back")
        if not self.mark.follows(entry):
            raise Broken(at, f"follows {self.mark.epoch}-{self.mark.n}: entries between them are missing")
        mark = book(self._partition, self.mark, entry, self._known, ours)
        if mark.hash != row.hash:
            raise Broken(at, "the hash does not follow")
        for name, we, they in zip(COLUMNS, ours.entries, columns, strict=True):
            if we != they:
                raise Broken(at, f"{name} is {they}, but should be {we}")
        if entry.text is not None and digest(entry.text.encode()) != entry.about.digest:
            raise Broken(at, "the text is not the one that its body names")
        if entry.about.viewer and keys.partition_of(entry.about.viewer) != self._partition:
            raise Broken(at, f"{entry.viewer} is of another partition")
        return mark


def rows_between(partition: int, after: Position, to: Position) -> Select[Any]:
    """The next rows `after < log id <= to`, by row values: both databases search the primary key for them."""
    at = tuple_(entries.c.epoch, entries.c.n)
    of = entries.c.partition == partition
    query = select(entries).where(of, at > after, at <= to).order_by(entries.c.epoch, entries.c.n)
    return query.limit(limits.REPLAY_BATCH)


def chain_from(connection: Connection, partition: int, at: Position) -> Chain:
    """The chain behind an entry that the store has. Raises Broken, SQLAlchemyError."""
    if at == NOTHING:
        return Chain(partition)
    this = (entries.c.partition == partition, entries.c.epoch == at[0], entries.c.n == at[1])
    row = connection.execute(select(entries.c.hash, entries.c.version).where(*this)).one_or_none()
    if row is None:
        raise Broken(at, "the store has this entry, and the journal not")
    return Chain(partition, Mark(*at, row.hash), row.version)


# --- putting back ----------------------------------------------------------------------------------------------------
class Refill:
    """Puts rows back into partitions, in this node's name. `replayed` counts those that this node put back."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._token = secrets.token_hex(_TOKEN_BYTES)
        self.replayed = 0

    @contextlib.asynccontextmanager
    async def lease(self, link: Link, partition: int) -> AsyncIterator[None]:
        """Hold a partition's lease. Raises CannotOpen while another node holds it, StoreError."""
        call = LEASE(lease=keys.refill(partition), token=self._token, lease_ms=limits.REFILL_LEASE_MS)
        if not await link.run(call):
            raise CannotOpen("another node fills it", soon=True)
        try:
            yield
        finally:
            with contextlib.suppress(StoreError):  # it expires
                await link.run(RELEASE(lease=keys.refill(partition), token=self._token))

    async def put_back(self, link: Link, partition: int, after: Position, to: Mark) -> None:
        """Put back the rows `after < log id <= to`. Those that another node has put back stay as they are.

        Raises Broken, CannotOpen, StoreError.
        """
        log.warning("wallet_store_behind_journal", partition=partition, store=after, journal=(to.epoch, to.n))
        time = await ask_journal(lambda: moneytime.read(self._engine, self._clock))
        forgot = await link.call("HGET", keys.wallet_meta(partition), "forgot")
        needed = receipts.Needed(int(forgot or 0), time.now_ms)
        chain = await ask_journal(lambda: self._begin(partition, after))
        while chain.position < (to.epoch, to.n):
            rows = await ask_journal(lambda: self._read(partition, chain, to))
            put_back = cast(int, await link.run(self._replay(partition, rows, needed)))
            if put_back < 0:
                raise CannotOpen("another node fills it", soon=True)
            self.replayed += put_back  # after the await: other partitions count meanwhile

    def _begin(self, partition: int, after: Position) -> Chain:
        with reading(self._engine).connect() as connection:
            return chain_from(connection, partition, after)

    def _read(self, partition: int, chain: Chain, to: Mark) -> list[EntryRow]:
        """The next rows, verified. Raises Broken, CannotOpen, SQLAlchemyError."""
        end = (to.epoch, to.n)
        with reading(self._engine).connect() as connection:
            found = connection.execute(rows_between(partition, chain.position, end)).all()
        rows = [chain.follow(columns) for columns in found]
        if len(rows) < limits.REPLAY_BATCH and chain.position != end:
            raise Broken(end, f"entries after {chain.mark.epoch}-{chain.mark.n} are missing, up to this watermark")
        if chain.position == end and chain.mark != to:
            raise Broken(end, "the watermark has another hash than this last entry")
        return rows

    def _replay(self, partition: int, rows: Sequence[EntryRow], needed: receipts.Needed) -> Call:
        return REPLAY(
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            lease=keys.refill(partition),
            today=needed.now_ms // limits.DAY_MS,
            token=self._token,
            lease_ms=limits.REFILL_LEASE_MS,
            each=[_group_of(partition, row, needed) for row in rows],
        )


class _Body(msgspec.Struct, frozen=True):
    """The parts of an entry's body that are put back."""

    coins_per_day: int = 0
    ordered_ms: int = 0


def _group_of(partition: int, row: EntryRow, needed: receipts.Needed) -> dict[str, Arg]:
    kind = KINDS[row.kind]
    return {**_keys_of(partition, row, kind), **_args_of(row, kind, needed)}


def _keys_of(partition: int, row: EntryRow, kind: Kind) -> dict[str, Arg]:
    """The keys of wallet, counter and receipt. An entry without them gets keys of its partition instead."""
    if kind.coins is None:
        meta = keys.wallet_meta(partition)
        return {"wallet": keys.log(partition), "credit": meta, "receipt": meta}
    operation = "-" if kind.receipt is Receipt.NONE else kind.operation(row.ref)
    of_gift = kind.receipt is Receipt.GIFT
    hashed = keys.receipts(partition, receipts.made_ms(row.ref)) if of_gift else ""
    return {
        "wallet": keys.wallet(row.user_id),
        "credit": keys.credit(partition, row.creator_id or "-"),
        "receipt": hashed or keys.receipt(row.user_id, operation),
    }


def _args_of(row: EntryRow, kind: Kind, needed: receipts.Needed) -> dict[str, Arg]:
    entry = join(row.body, row.text)
    body = msgspec.json.decode(row.body, type=_Body)
    also: dict[Also, Arg] = {
        Also.NOTHING: "",
        Also.DAY: row.coins,
        Also.LIMIT: body.coins_per_day,
        Also.EPOCH: row.epoch,
    }
    left = receipts.of(row)
    return {
        "id": f"{row.epoch}-{row.n}",
        "at_ms": row.at_ms,
        "balance": "" if row.balance is None else row.balance,
        "credited": "" if row.credited is None else row.credited,
        "combo": row.combo_count,
        "entry": entry,
        "receipt_text": left.text if left and needed.has(left) else "",
        "receipt_field": keys.receipts_field(row.user_id, row.ref) if left and left.gift_ms is not None else "",
        "coins": row.coins,
        "total": kind.total.counter if kind.total else "",
        "diamonds": row.diamonds,
        "total_diamonds": kind.total_diamonds.counter if kind.total_diamonds else "",
        "status": kind.status,
        "ordered_ms": body.ordered_ms,
        "also": kind.also.value,
        "value": also[kind.also],
    }
