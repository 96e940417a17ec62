"""Before any gift on a new wallet connection: the store gets back what only the journal has, then partitions open.

A failover or a restored backup can leave the store behind the journal. New gifts would get ids that the drain has
passed already: they would never be journaled, and balances would be spent twice (money.md, section 2.4, row 1).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import structlog
from sqlalchemy import Engine, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from protocol.ids import uuid7_ms
from server import limits
from server.journal.database import reading
from server.journal.tables import entries, watermarks
from server.store import keys, scripts
from server.store.client import Arg, Link, StoreDown
from server.store.scripts import Script

log = structlog.get_logger()

LOOK = scripts.load("wallet_look")
OPEN = scripts.load("wallet_open")
REPLAY = scripts.load("wallet_replay")
SCRIPTS = (LOOK, OPEN, REPLAY)

NOTHING = (0, -1)  # before the first id of the first epoch

Position = tuple[int, int]


class Opening:
    """Opens the wallet store's partitions. One per node; `run_id` names the store process that was opened last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._opened_run_id = ""
        self.replayed = 0

    async def open(self, link: Link, run_id: str) -> list[str]:
        """Each partition's epoch, in order. Raises StoreError; the journal being away is one."""
        partitions = range(limits.WALLET_PARTITIONS)
        names = [key for p in partitions for key in (keys.log(p), keys.wallet_meta(p))]
        looked = await _run(link, LOOK, names, list(partitions))
        found = [_found(epoch, last) for epoch, last in looked]
        if run_id and run_id == self._opened_run_id:  # the same process answered again: it has lost nothing
            return [str(epoch) for epoch, _ in found]
        marks = await self._marks()
        wanted: list[int] = []
        for partition, (epoch, last) in enumerate(found):
            mark = marks.get(partition, NOTHING)
            if last < mark:
                await self._put_back(link, partition, last, mark)
                wanted.append(max(epoch, mark[0]) + 1)
            else:
                wanted.append(epoch if epoch >= max(last[0], 1) else last[0] + 1)
        args = [value for pair in enumerate(wanted) for value in pair]
        epochs = [epoch.decode() for epoch in await _run(link, OPEN, names, args)]
        if "" in epochs:
            raise StoreDown("a partition's log is ahead of its epoch")
        self._opened_run_id = run_id
        return epochs

    async def _marks(self) -> dict[int, Position]:
        def read() -> dict[int, Position]:
            with reading(self._engine).connect() as connection:
                return {row.partition: (row.epoch, row.n) for row in connection.execute(select(watermarks))}

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            log.debug("opening_waits_for_journal", error=str(error)[:200])
            raise StoreDown("the journal is away: nobody knows whether the wallet store is whole") from None

    async def _put_back(self, link: Link, partition: int, after: Position, to: Position) -> None:
        """Replay the journal's rows `after < id <= to`. Rows that another node has put back stay as they are."""
        log.warning("wallet_store_behind_journal", partition=partition, store=after, journal=to)
        while after < to:
            rows = await asyncio.to_thread(self._rows, partition, after, to)
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


class _Body(msgspec.Struct, frozen=True):
    fp: str = ""


async def _run(link: Link, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
    script.check(names, args)
    return await link.call("EVALSHA", script.sha, len(names), *names, *args)


def _found(epoch: bytes, last: bytes) -> tuple[int, Position]:
    if not last:
        return int(epoch or 0), NOTHING
    in_epoch, n = last.split(b"-")
    return int(epoch or 0), (int(in_epoch), int(n))


def _replay_call(partition: int, rows: Sequence[Any]) -> tuple[list[str], list[Arg]]:
    names = [keys.log(partition), keys.wallet_meta(partition)]
    args: list[Arg] = []
    for row in rows:
        names += [keys.wallet(row.user_id), keys.credit(partition, row.creator_id or "-")] if row.user_id else names[:2]
        text, expires_ms, operation = _receipt(row)
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
            {"freeze": "frozen", "unfreeze": "ok"}.get(row.kind, ""),
            {"topup": "bought", "refund": "refunded", "chargeback": "charged_back"}.get(row.kind, ""),
        ]
    return names, args


def _receipt(row: Any) -> tuple[str, int, str]:
    """A row's receipt, when it expires, and the operation that it is for (as the money scripts write it)."""
    entry_id = f"{row.epoch}-{row.n}"
    fp = msgspec.json.decode(row.body, type=_Body).fp
    match row.kind:
        case "gift":
            expires_ms = uuid7_ms(row.ref) + limits.GIFT_ID_LIFE_MS + limits.RECEIPT_MARGIN_MS
            return f"{fp} {row.balance} {row.combo_count} {entry_id}", expires_ms, row.ref
        case "open":
            return "", 0, "-"
        case kind:
            return f"{fp} {row.balance} {entry_id}", row.at_ms + limits.TOPUP_RECEIPT_S * 1000, f"{kind}:{row.ref}"
