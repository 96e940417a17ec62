"""Sets a frozen partition of the wallet store to what the journal and the entries behind it say."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Engine, select

from server import limits
from server.entries import TOTALS
from server.journal.books import LogEntry
from server.journal.database import reading
from server.journal.findings import Wrong
from server.journal.sums import Sums, with_waiting
from server.journal.tables import positions
from server.journal.verify import verify
from server.store import keys, scripts
from server.store.client import Arg, Store
from server.store.cluster import ClusterStore

SET = scripts.load("correct_set")
SCRIPTS = (SET,)

Value = tuple[str, str, int]  # key, field or "", and the number that it must have


class NotFrozen(Exception):
    """The partition is not frozen."""


class Moved(Exception):
    """The partition or its journal is not as it was looked at. The text says what is different."""


async def correct(
    engine: Engine, wallet: Store | ClusterStore, partition: int, waiting: Sequence[LogEntry]
) -> list[str]:
    """Set balances, counters and totals. Returns what was different, in words.

    Raises NotFrozen, Moved, StoreError, SQLAlchemyError.
    """
    last, sums, balances = await asyncio.to_thread(_journaled, engine, partition)
    for entry in waiting:
        balances |= {entry.viewer: entry.balance} if entry.balance is not None else {}
        balances |= {entry.creator: entry.credited} if entry.credited is not None else {}
        last = f"{entry.epoch}-{entry.n}"
    with_waiting(sums, {}, waiting)
    values = list(_values(partition, sums, balances))
    changed: list[str] = []
    for at in range(0, len(values), limits.REPLAY_BATCH):
        changed += await _set(wallet, partition, last, values[at : at + limits.REPLAY_BATCH])
    return changed


def _journaled(engine: Engine, partition: int) -> tuple[str, Sums, dict[str, int]]:
    with reading(engine).connect() as connection:
        found = verify(connection, partition)
        rows = connection.execute(select(positions).where(positions.c.partition == partition))
        balances = {row.account: row.balance for row in rows}
    if found.wrong:
        wrong: Wrong = found.wrong[0]
        raise Moved(f"{wrong.where}: {wrong.what}")
    return str(found.head) if found.head is not None else "", found.sums, balances


def _values(partition: int, sums: Sums, balances: dict[str, int]) -> Iterator[Value]:
    for total in TOTALS:
        yield keys.wallet_meta(partition), total.counter, getattr(sums, total.sum)
    for account, balance in balances.items():
        kind, _, name = account.partition(":")
        if kind == "viewer":
            yield keys.wallet(name), "c", balance
        else:
            yield keys.credit(partition, name), "", balance


async def _set(wallet: Store | ClusterStore, partition: int, last: str, values: Sequence[Value]) -> list[str]:
    each: list[dict[str, Arg]] = [{"key": key, "field": field, "value": value} for key, field, value in values]
    call = SET(log=keys.log(partition), meta=keys.wallet_meta(partition), last=last, each=each)
    reply = cast(list[Any], await wallet.run(*call))
    if reply[0] == b"not_frozen":
        raise NotFrozen
    if reply[0] == b"moved":
        raise Moved(f"the last entry of the store is no longer {last}")
    return [text.decode() for text in reply[1:]]
