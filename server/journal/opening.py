"""Before any gift on a new wallet connection: the store gets back what only the journal has, then partitions open.

A failover or a restored backup can leave the store behind the journal. New gifts would get ids that the drain has
passed already: they would never be journaled, and balances would be spent twice (money.md, section 2.4, row 1).
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import Engine, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from protocol.ids import uuid7_ms
from server import limits
from server.journal.database import ask, reading
from server.journal.tables import entries, quarantine, watermarks
from server.store import keys, scripts
from server.store.client import Arg, Link, StoreDown
from server.store.scripts import Script

log = structlog.get_logger()

LOOK = scripts.load("opening_look")
OPEN = scripts.load("opening_open")
REPLAY = scripts.load("opening_replay")
SCRIPTS = (LOOK, OPEN, REPLAY)

NOTHING = (0, -1)  # before the first id of the first epoch

Position = tuple[int, int]
T = TypeVar("T")


class Opening:
    """Opens the wallet store's partitions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.replayed = 0

    async def open(self, link: Link, identity: str, partitions: frozenset[int]) -> dict[int, str]:
        """The epochs of these partitions. Raises StoreError; the journal being away is one.

        `identity` names the store's process and its part in replication. A partition says itself on whom it was opened
        last: on anybody else it gets a new epoch, whether the store is behind or not, for ids that a failover lost are
        given again.
        """
        known = await asyncio.gather(*(self._look(link, partition) for partition in partitions))
        found = dict(zip(partitions, known, strict=True))
        if all(seen.opened == identity for seen in found.values()):
            return {p: str(seen.epoch) for p, seen in found.items()}
        marks = await self._marks()
        for partition in partitions & await self._stuck():
            await link.call("HSET", keys.wallet_meta(partition), "frozen", "1")
        opened = await asyncio.gather(
            *(self._open_one(link, p, found[p], marks.get(p, NOTHING), identity) for p in partitions)
        )
        return dict(zip(partitions, opened, strict=True))

    async def _look(self, link: Link, partition: int) -> "_Seen":
        names = [keys.log(partition), keys.wallet_meta(partition)]
        [(epoch, last, opened)] = await _run(link, LOOK, names, [partition])
        in_epoch, _, n = last.decode().partition("-")
        return _Seen(int(epoch or 0), (int(in_epoch), int(n)) if last else NOTHING, opened.decode())

    async def _open_one(self, link: Link, partition: int, seen: "_Seen", mark: Position, identity: str) -> str:
        if seen.opened == identity:
            return str(seen.epoch)
        if seen.last < mark:
            await self._put_back(link, partition, seen.last, mark)
        epoch = max(seen.epoch, seen.last[0], mark[0]) + 1
        names = [keys.log(partition), keys.wallet_meta(partition)]
        [opened] = await _run(link, OPEN, names, [partition, epoch, identity])
        if not opened:
            raise StoreDown("a partition's log is ahead of its epoch")
        return str(opened.decode())

    async def _marks(self) -> dict[int, Position]:
        def read() -> dict[int, Position]:
            with reading(self._engine).connect() as connection:
                return {row.partition: (row.epoch, row.n) for row in connection.execute(select(watermarks))}

        return await _ask_journal(read)

    async def _stuck(self) -> set[int]:
        """Partitions that stand still: a restored store does not know of it."""

        def read() -> set[int]:
            with reading(self._engine).connect() as connection:
                return set(connection.execute(select(quarantine.c.partition)).scalars())

        return await _ask_journal(read)

    async def _put_back(self, link: Link, partition: int, after: Position, to: Position) -> None:
        """Replay the journal's rows `after < id <= to`. Rows that another node has put back stay as they are."""
        log.warning("wallet_store_behind_journal", partition=partition, store=after, journal=to)
        while after < to:
            rows = await _ask_journal(functools.partial(self._rows, partition, after, to))
            if not rows:
                raise StoreDown(f"the journal has no rows of partition {partition} after {after}")
            names, args = _replay_call(partition, rows)
            self.replayed += cast(int, await _run(link, REPLAY, names, args))
            after = (rows[-1].epoch, rows[-1].n)

    def _rows(self, partition: int, after: Position, to: Position) -> Sequence[Any]:
        epoch, n = entries.c.epoch, entries.c.n
        query = (
            select(entries)
            .where(entries.c.partition == partition)
            .where(or_(epoch > after[0], and_(epoch == after[0], n > after[1])))
            .where(or_(epoch < to[0], and_(epoch == to[0], n <= to[1])))
            .order_by(epoch, n)
            .limit(limits.REPLAY_BATCH)
        )
        with reading(self._engine).connect() as connection:
            return connection.execute(query).all()


async def _ask_journal(read: Callable[[], T]) -> T:
    """Read in a thread. Raises StoreDown when the journal is away."""
    try:
        return await ask(read)
    except SQLAlchemyError as error:
        log.debug("opening_waits_for_journal", error=str(error)[: limits.LOGGED_CHARS_MAX])
        raise StoreDown("the journal is away: nobody knows whether the wallet store is whole") from None


class _Seen(msgspec.Struct, frozen=True):
    """What a store says of a partition."""

    epoch: int
    last: Position
    opened: str


class _Body(msgspec.Struct, frozen=True):
    fp: str = ""
    coins_per_day: int = 0


async def _run(link: Link, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
    script.check(names, args)
    return await link.call("EVALSHA", script.sha, len(names), *names, *args)


def _replay_call(partition: int, rows: Sequence[Any]) -> tuple[list[str], list[Arg]]:
    names = [keys.log(partition), keys.wallet_meta(partition)]
    args: list[Arg] = []
    for row in rows:
        names += [keys.wallet(row.user_id), keys.credit(partition, row.creator_id or "-")] if row.user_id else names[:2]
        body = msgspec.json.decode(row.body, type=_Body)
        text, expires_ms, operation = _receipt(row, body.fp)
        names.append(keys.receipt(row.user_id, operation) if row.user_id else names[1])
        args += [
            f"{row.epoch}-{row.n}",
            row.at_ms,
            "" if row.balance is None else row.balance,
            "" if row.credited is None else row.credited,
            row.combo_count,
            row.body,
            text,
            expires_ms,
            row.kind,
            row.coins,
            row.diamonds,
            {"freeze": "frozen", "chargeback": "frozen", "unfreeze": "ok"}.get(row.kind, ""),
            {"topup": "bought", "refund": "refunded", "chargeback": "charged_back"}.get(row.kind, ""),
            body.coins_per_day,
        ]
    return names, args


def _receipt(row: Any, fp: str) -> tuple[str, int, str]:
    """A row's receipt, when it expires, and the operation that it is for (as the money scripts write it)."""
    entry_id = f"{row.epoch}-{row.n}"
    match row.kind:
        case "gift":
            expires_ms = uuid7_ms(row.ref) + limits.GIFT_ID_LIFE_MS + limits.RECEIPT_MARGIN_MS
            return f"{fp} {row.balance} {row.combo_count} {entry_id}", expires_ms, row.ref
        case "open" | "limit":
            return "", 0, "-"
        case kind:
            return f"{fp} {row.balance} {entry_id}", row.at_ms + limits.TOPUP_RECEIPT_S * 1000, f"{kind}:{row.ref}"
