"""Waits until the journal has all that a wallet did: an older SQL database, put back, knows less than the store."""

import asyncio

from sqlalchemy import Engine, select

from server import limits
from server.journal.database import ask, reading
from server.journal.tables import watermarks
from server.money.results import Money
from server.orders.rows import NotYet
from server.store import keys


async def wait_until_journaled(engine: Engine, wallet: Money, user_id: str) -> None:
    """Wait until the drain has passed everything that this wallet did until now. Raises NotYet, Refused."""
    partition = keys.partition_of(user_id)
    last = await wallet.last_entry(partition)
    for _ in range(limits.JOURNALED_POLLS):
        if await ask(_watermark, engine, partition) >= last:
            return
        await asyncio.sleep(limits.DRAIN_IDLE_S)
    raise NotYet


def _watermark(engine: Engine, partition: int) -> tuple[int, int]:
    query = select(watermarks.c.epoch, watermarks.c.n).where(watermarks.c.partition == partition)
    with reading(engine).connect() as connection:
        row = connection.execute(query).one_or_none()
    return (0, -1) if row is None else (row.epoch, row.n)
