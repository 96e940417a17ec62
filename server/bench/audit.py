"""What an audit costs: all of a journal, one with nothing new, and beside gifts that come at a steady rate."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from server import limits, settings
from server.background import Tasks
from server.bench import machine
from server.bench.books import Books
from server.bench.giving import Givers, open_wallet
from server.clock import Clock
from server.journal import database
from server.journal.audit import SCRIPTS, Audit
from server.journal.memory import Memory
from server.processes.journal import run_drain
from server.processes.retell import drain_and_retell
from server.rooms.history import History
from server.settings import Settings
from server.store import embedded, keys
from server.store.client import Store

KEY = "the-audit-key-of-a-measurement-and-of-nothing-else"


def measure(below: Path, entries: int, per_s: int, seconds: float, on_postgresql: bool) -> dict[str, Any]:
    """Figures of the audit. The stores and PostgreSQL have one core, the journal the other."""
    folder = below / "stores"
    folder.mkdir()
    with contextlib.ExitStack() as running:
        at = {}
        if on_postgresql:
            machine.pin(0, machine.DRIVER_CPU)
            server = running.enter_context(machine.postgresql(below))
            at["LIVEROOM_JOURNAL_URL"] = server.address("postgres")
        configured = settings.load({"LIVEROOM_DATA": str(folder), **at})
        running.enter_context(machine.store(embedded.WALLET, configured))
        running.enter_context(machine.store(embedded.ROOM, configured))
        database_pid = server.process.pid if on_postgresql and server.process else None
        return run_drain(_measure(configured, entries, per_s, seconds, database_pid))


async def _measure(
    configured: Settings, entries: int, per_s: int, seconds: float, database_pid: int | None
) -> dict[str, Any]:
    engine = database.connect(configured.journal_address)
    await asyncio.to_thread(database.migrate, engine)
    books = Books(engine)
    began = time.perf_counter()
    await asyncio.to_thread(books.fill, entries)
    found: dict[str, Any] = {"journal": engine.dialect.name, "entries": entries}
    found["built_in_s"] = round(time.perf_counter() - began, 1)
    async with _stores(configured) as (wallet, rooms):
        await books.store(wallet)
        measured = _Measured(configured, engine, wallet, database_pid)
        found["whole"] = await measured.audit(measured.audits)
        found["nothing_new"] = await measured.audit(measured.audits)
        found["after_a_start"] = await measured.audit(measured.started())
        if per_s:
            found["beside_gifts"] = await measured.beside_gifts(rooms, per_s, seconds)
    engine.dispose()
    return found


@contextlib.asynccontextmanager
async def _stores(configured: Settings) -> AsyncIterator[tuple[Store, Store]]:
    """As the journal process has them."""
    wallet = Store("wallet", configured.wallet_address, scripts=SCRIPTS)
    rooms = Store("room", configured.room_address)
    for store in (wallet, rooms):
        await store.start()
        await store.wait_up(limits.STORE_START_S)
    yield wallet, rooms
    for store in (wallet, rooms):
        await store.stop()


class _Measured:
    """One journal and its audits."""

    def __init__(self, configured: Settings, engine: Engine, wallet: Store, database_pid: int | None) -> None:
        self._configured = configured
        self._engine = engine
        self._wallet = wallet
        self._database = [] if database_pid is None else [database_pid]
        self.clock = Clock(time.time)  # noqa: TID251
        self.audits = self.started()

    def started(self) -> Audit:
        """The audit of a journal process that has just started."""
        memory = Memory(self._engine, self._wallet, self.clock, KEY, self._configured.anchors)
        return Audit(self._engine, self._wallet, self.clock, memory)

    async def audit(self, audit: Audit) -> dict[str, Any]:
        used_s, own_s, began = machine.cpu_s(*self._database), time.process_time(), time.perf_counter()
        report = await audit.run(everything=False)
        assert not report.wrong, report.wrong[0]
        return {
            "wall_s": round(time.perf_counter() - began, 2),
            "cpu_s": round(time.process_time() - own_s, 2),
            "database_cpu_s": round(machine.cpu_s(*self._database) - used_s, 2),
            "entries": report.entries,
        }

    async def beside_gifts(self, rooms: Store, per_s: int, seconds: float) -> dict[str, Any]:
        """In one run: gifts at a steady rate, first without audits, then with one each AUDIT_EVERY_S.

        Each audit has the entries of one such turn to verify, as in a site that runs for long.
        """
        drain = drain_and_retell(self._engine, self._wallet, History(rooms), self.clock)
        stopping = asyncio.Event()
        tasks = Tasks("bench")
        draining = tasks.spawn(drain.run(stopping))
        gifts = tasks.spawn(_give(self._configured, self._engine, rooms, per_s, stopping))
        try:
            await asyncio.sleep(limits.AUDIT_EVERY_S / 4)
            off = await self._cores(seconds, audits=False)
            await self.audit(self.audits)  # of what came meanwhile: the next one has a usual turn's entries
            on = await self._cores(seconds, audits=True)
        finally:
            stopping.set()
            await asyncio.gather(draining, gifts)
        return {"gifts_per_s": per_s, "off": off, "on": on, "journaled": drain.journaled}

    async def _cores(self, seconds: float, *, audits: bool) -> dict[str, Any]:
        """Cores in use while gifts come: of this process, which drains and makes the gifts, and of PostgreSQL."""
        used_s, own_s, began = machine.cpu_s(*self._database), time.process_time(), time.perf_counter()
        count = 0
        while (passed_s := time.perf_counter() - began) < seconds:
            if audits and passed_s >= (count + 1) * limits.AUDIT_EVERY_S - limits.AUDIT_POLL_S:
                count += 1
                await self.audit(self.audits)
            await asyncio.sleep(limits.AUDIT_POLL_S)
        took_s = time.perf_counter() - began
        return {
            "cores": round((time.process_time() - own_s) / took_s, 3),
            "database_cores": round((machine.cpu_s(*self._database) - used_s) / took_s, 3),
            "audits": count,
        }


async def _give(configured: Settings, engine: Engine, rooms: Store, per_s: int, stopping: asyncio.Event) -> None:
    """Pay so many gifts a second, a tick's worth at a time. Their room has shown them."""
    wallet = await open_wallet(configured, engine)
    givers, began, given = Givers(0), time.perf_counter(), 0
    while not stopping.is_set():
        due = int((time.perf_counter() - began) * per_s)
        batch = [givers.spend() for _ in range(due - given)]
        given = due
        shown = (rooms.call("SET", keys.room("bench", "once", each.gift_id), 1) for each in batch)
        await asyncio.gather(*shown)
        await asyncio.gather(*(wallet.spend(each) for each in batch))
        await asyncio.sleep(limits.AUDIT_POLL_S)
    await wallet.stop()
