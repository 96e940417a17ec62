"""How fast a backlog is journaled: pays gifts into the ledger log, marks them as shown, then drains them into SQL."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from server import limits, settings
from server.bench import machine
from server.bench.giving import Givers, open_wallet
from server.clock import Clock
from server.journal import database
from server.journal.database import reading
from server.processes.journal import run_drain
from server.processes.retell import drain_and_retell
from server.rooms.history import History
from server.settings import Settings
from server.store import embedded, keys
from server.store.client import Store


def measure(below: Path, gifts: int, on_postgresql: bool) -> dict[str, Any]:
    """Measure the drain on one core; stores and database have the other.

    SQLite runs in a thread of the drain. So that it may also use the other core, the process is then not pinned.
    """
    folder = below / "stores"
    folder.mkdir()
    if on_postgresql:
        machine.pin(0, machine.DRIVER_CPU)
    with contextlib.ExitStack() as running:
        at = {}
        if on_postgresql:
            server = running.enter_context(machine.postgresql(below))
            at["LIVEROOM_JOURNAL_URL"] = server.address("postgres")
        configured = settings.load({"LIVEROOM_DATA": str(folder), **at})
        wallet = running.enter_context(machine.store(embedded.WALLET, configured))
        running.enter_context(machine.store(embedded.ROOM, configured))
        database_pid = server.process.pid if on_postgresql and server.process else None
        syncs = machine.fdatasyncs_per_s(below)
        found = run_drain(_measure(configured, gifts, wallet.pid, database_pid))
        return {**found, "fdatasyncs_per_s": [syncs, machine.fdatasyncs_per_s(below)]}


async def _measure(configured: Settings, gifts: int, wallet_pid: int, database_pid: int | None) -> dict[str, Any]:
    engine = database.connect(configured.journal_address)
    await asyncio.to_thread(database.migrate, engine)
    empty = _bytes(engine)
    async with _stores(configured) as (wallet, rooms):
        entries = await _fill(configured, engine, (wallet, rooms), gifts)
        clock = Clock(lambda: time.time() + limits.RETELL_AFTER_MS / 1000)  # noqa: TID251  # as if the backlog were old enough to retell
        drain = drain_and_retell(engine, wallet, History(rooms), clock)
        pids = [wallet_pid, *([database_pid] if database_pid else [])]
        used_s, own_s, began = [machine.cpu_s(pid) for pid in pids], time.process_time(), time.perf_counter()
        while drain.journaled < entries:
            assert await drain.drain_once()
            await drain.retell_once()
        took_s, own_s = time.perf_counter() - began, time.process_time() - own_s
        used_s = [machine.cpu_s(pid) - used for pid, used in zip(pids, used_s, strict=True)]
    per_entry = (_bytes(engine) - empty) / entries
    engine.dispose()
    assert (drain.journaled, drain.retold, drain.stuck) == (entries, 0, {})
    found = {
        "entries_per_s": round(entries / took_s),
        "million_s": round(took_s / entries * 1000 * 1000, 1),
        "bytes_per_entry": round(per_entry),
        "drain_cpu_us_per_entry": round(own_s / entries * 1000 * 1000, 1),
        "store_cpu_us_per_entry": round(used_s[0] / entries * 1000 * 1000, 1),
    }
    if database_pid:
        found["database_cpu_us_per_entry"] = round(used_s[1] / entries * 1000 * 1000, 1)
    return {**found, "journal": engine.dialect.name, "entries": entries}


def _bytes(engine: Engine) -> int:
    """The size of the database: tables and indexes, without the write-ahead log."""
    asked = "SELECT pg_database_size(current_database())"
    if engine.dialect.name == "sqlite":
        asked = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    with reading(engine).connect() as connection:
        return int(connection.exec_driver_sql(asked).scalar_one())


@contextlib.asynccontextmanager
async def _stores(configured: Settings) -> AsyncIterator[tuple[Store, Store]]:
    """The stores, connected as in the journal process."""
    wallet, rooms = Store("wallet", configured.wallet_address), Store("room", configured.room_address)
    for store in (wallet, rooms):
        await store.start()
        await store.wait_up(limits.STORE_START_S)
    yield wallet, rooms
    for store in (wallet, rooms):
        await store.stop()


async def _fill(configured: Settings, engine: Engine, stores: tuple[Store, Store], gifts: int) -> int:
    """Pay the gifts, and mark each as shown. Returns the number of log entries, openings and top-ups included."""
    wallet = await open_wallet(configured, engine)
    givers, left, (log, rooms) = Givers(0), itertools.repeat(None, gifts), stores

    async def give() -> None:
        for _ in left:
            spend = givers.spend()
            await wallet.spend(spend)
            await rooms.call("SET", keys.room("bench", "once", spend.gift_id), 1)

    await asyncio.gather(*(give() for _ in range(limits.SPEND_BATCH_MAX * 4)))
    await wallet.stop()
    return sum([await log.call("XLEN", keys.log(p)) for p in range(limits.WALLET_PARTITIONS)])
