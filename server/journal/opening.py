"""Opens partitions on a new wallet connection: the store first gets back the entries that only the journal has.

A failover or a restored backup can leave the store behind the journal. New gifts would get log ids that the drain has
already passed. They would never be journaled, and balances would be spent twice (docs/decisions/0008-epochs.md).
"""

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import Engine, Select, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.entries import KINDS, Also, Kind, OpenEntry, Receipt
from server.journal import fork, moneytime, receipts
from server.journal.database import ask, reading
from server.journal.log import Position
from server.journal.tables import entries, quarantine, watermarks
from server.journal.texts import join
from server.store import keys, scripts
from server.store.client import Arg, Link, StoreDown
from server.store.scripts import Call

log = structlog.get_logger()

LOOK = scripts.load("opening_look")
OPEN = scripts.load("opening_open")
REPLAY = scripts.load("opening_replay")
SCRIPTS = (LOOK, OPEN, REPLAY, moneytime.SET)

NOTHING = (0, -1)  # before the first log id of the first epoch

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True):
    """The columns of a journal row that are put back."""

    epoch: int
    n: int
    kind: str
    user_id: str
    ref: str
    creator_id: str | None
    coins: int
    diamonds: int
    balance: int | None
    credited: int | None
    combo_count: int
    at_ms: int
    body: str
    text: str | None


_COLUMNS = [entries.c[name] for name in Row.__struct_fields__]


class Fence(Protocol):
    """Decides which partitions may be opened on a store now."""

    async def take(self, link: Link, identity: str, opened: Mapping[int, str]) -> dict[int, str]:
        """What the store is to record for each partition that may be opened. Raises StoreDown."""


class Opening:
    """Opens the wallet store's partitions."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.replayed = 0

    async def open(self, link: Link, identity: str, partitions: frozenset[int], fence: Fence) -> dict[int, str]:
        """Open these partitions and return their epochs. Raises StoreError, also when the journal is down.

        `identity` names the store's process and its role in replication. Each partition records the identity that it
        was last opened on, and the fence's token. On any other it gets a new epoch, even if the store is not behind:
        log ids that a failover has lost are used again. On the same one it is compared all the same, because an address
        may lead to an old primary again. Only a store that is opened already goes on without the journal.

        Partitions for which the fence still waits are left out.
        """
        found = await self._look_all(link, partitions)
        names = await fence.take(link, identity, {p: stored.opened for p, stored in found.items()})
        opened_already = all(found[p].opened == name and found[p].has_time for p, name in names.items())
        try:  # before the store is looked at: other nodes' gifts may be journaled meanwhile
            marks = await self._marks(limits.OPENING_ASK_S if opened_already else limits.SQL_ANSWER_S)
        except StoreDown:
            if not opened_already:
                raise
            return {p: str(found[p].epoch) for p in names}
        if not opened_already:
            await moneytime.restore(link, names, await self._time())  # before receipts: it refuses ids without them
        found = await self._look_all(link, names.keys())
        forked = await self._freeze_forks(link, found, marks)
        if any(found[p].opened != name for p, name in names.items()):
            for partition in names.keys() & await self._stuck():
                await link.call("HSET", keys.wallet_meta(partition), "frozen", "1")
        whole = [p for p in names if p not in forked]
        opened = await asyncio.gather(
            *(self._open_one(link, p, found[p], marks.get(p, NOTHING), names[p]) for p in whole)
        )
        return {**{p: str(found[p].epoch) for p in forked}, **dict(zip(whole, opened, strict=True))}

    async def _freeze_forks(
        self, link: Link, found: "dict[int, _Stored]", marks: dict[int, Position]
    ) -> dict[int, tuple[Position, str]]:
        """Freeze the partitions whose newest common entry is not the same in store and journal, and return why."""
        at = {p: min(stored.last, marks[p]) for p, stored in found.items() if p in marks and stored.last != NOTHING}
        booked = await _ask_journal(functools.partial(fork.in_journal, self.engine, at))
        rows = await fork.in_store(link, at)
        why = {p: fork.differs(rows[p], booked.get(p), position, marks[p]) for p, position in at.items()}
        forks = {p: (at[p], reason) for p, reason in why.items() if reason is not None}
        if forks:
            log.error("wallet_store_forked", partitions={p: reason for p, (_, reason) in forks.items()})
            await _ask_journal(functools.partial(fork.set_aside, self.engine, forks, self.clock))
            for partition in forks:
                await link.call("HSET", keys.wallet_meta(partition), "frozen", "1")
        return forks

    async def _look_all(self, link: Link, partitions: Collection[int]) -> "dict[int, _Stored]":
        looked = await asyncio.gather(*(self._look(link, partition) for partition in partitions))
        return dict(zip(partitions, looked, strict=True))

    async def _look(self, link: Link, partition: int) -> "_Stored":
        group: dict[str, Arg] = {
            "log": keys.log(partition),
            "meta": keys.wallet_meta(partition),
            "partition": partition,
        }
        [(epoch, last, opened, time)] = await link.run(LOOK(each=[group]))
        in_epoch, _, n = last.decode().partition("-")
        return _Stored(int(epoch or 0), (int(in_epoch), int(n)) if last else NOTHING, opened.decode(), time != b"")

    async def _open_one(self, link: Link, partition: int, stored: "_Stored", mark: Position, name: str) -> str:
        if stored.opened == name and stored.last >= mark:
            return str(stored.epoch)
        if stored.last < mark:
            await self._put_back(link, partition, stored.last, mark)
        epoch = max(stored.epoch, stored.last[0], mark[0]) + 1
        group: dict[str, Arg] = {
            "log": keys.log(partition),
            "meta": keys.wallet_meta(partition),
            "epoch": epoch,
            "opened": name,
            "entry": msgspec.json.encode(OpenEntry(partition=partition)),
        }
        [opened] = await link.run(OPEN(each=[group]))
        if not opened:
            raise StoreDown("a partition's log is ahead of its epoch")
        return str(opened.decode())

    async def _time(self) -> moneytime.Time:
        return await _ask_journal(functools.partial(moneytime.read, self.engine, self.clock))

    async def _marks(self, within_s: float) -> dict[int, Position]:
        def read() -> dict[int, Position]:
            with reading(self.engine).connect() as connection:
                return {row.partition: (row.epoch, row.n) for row in connection.execute(select(watermarks))}

        return await _ask_journal(read, within_s)

    async def _stuck(self) -> set[int]:
        """Read which partitions are frozen: a restored store has lost the flag."""

        def read() -> set[int]:
            with reading(self.engine).connect() as connection:
                return set(connection.execute(select(quarantine.c.partition)).scalars())

        return await _ask_journal(read)

    async def _put_back(self, link: Link, partition: int, after: Position, to: Position) -> None:
        """Replay the journal's rows `after < log id <= to`. Rows that another node has put back stay as they are."""
        log.warning("wallet_store_behind_journal", partition=partition, store=after, journal=to)
        time, forgot = await self._time(), await link.call("HGET", keys.wallet_meta(partition), "forgot")
        needed = receipts.Needed(int(forgot or 0), time.now_ms)
        while after < to:
            rows = await _ask_journal(functools.partial(self._rows, partition, after, to))
            if not rows:
                raise StoreDown(f"the journal has no rows of partition {partition} after {after}")
            put_back = await link.run(_replay_call(partition, rows, needed))
            self.replayed += cast(int, put_back)  # after the await: other partitions count meanwhile
            after = (rows[-1].epoch, rows[-1].n)

    def _rows(self, partition: int, after: Position, to: Position) -> list[Row]:
        with reading(self.engine).connect() as connection:
            return [Row(*row) for row in connection.execute(rows_between(partition, after, to))]


def rows_between(partition: int, after: Position, to: Position) -> Select[Any]:
    """The next rows `after < log id <= to`, by row values: both databases search the primary key for them."""
    at = tuple_(entries.c.epoch, entries.c.n)
    of = entries.c.partition == partition
    query = select(*_COLUMNS).where(of, at > after, at <= to).order_by(entries.c.epoch, entries.c.n)
    return query.limit(limits.REPLAY_BATCH)


async def _ask_journal(read: Callable[[], T], within_s: float = limits.SQL_ANSWER_S) -> T:
    """Read in a thread. Raises StoreDown when the journal is down."""
    try:
        return await ask(read, within_s=within_s)
    except SQLAlchemyError as error:
        log.debug("opening_waits_for_journal", error=str(error)[: limits.LOGGED_CHARS_MAX])
        raise StoreDown("the journal is down, so nobody can check the wallet store") from None


class _Stored(msgspec.Struct, frozen=True):
    """What the store has of a partition."""

    epoch: int
    last: Position
    opened: str
    has_time: bool


class _Body(msgspec.Struct, frozen=True):
    """The parts of an entry's body that are put back."""

    coins_per_day: int = 0
    ordered_ms: int = 0


def _replay_call(partition: int, rows: Sequence[Row], needed: receipts.Needed) -> Call:
    each: list[dict[str, Arg]] = []
    for row in rows:
        kind = KINDS.get(row.kind)
        if kind is None:
            raise StoreDown(f"the journal has a {row.kind}, which only a newer program can put back")
        each.append({**_keys_of(partition, row, kind), **_args_of(row, kind, needed)})
    today = needed.now_ms // limits.DAY_MS
    return REPLAY(log=keys.log(partition), meta=keys.wallet_meta(partition), today=today, each=each)


def _keys_of(partition: int, row: Row, kind: Kind) -> dict[str, Arg]:
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


def _args_of(row: Row, kind: Kind, needed: receipts.Needed) -> dict[str, Arg]:
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
