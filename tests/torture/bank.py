"""A bank to torture: people who send gifts, a book of what was sent and answered, and checks of the result."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import Engine, select

from protocol.refusals import Refusal, Refused
from server import limits
from server.clock import Clock
from server.features.gifts import SCRIPTS as GIFT_SCRIPTS
from server.journal import database
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit, Report
from server.journal.drain import Drain, tail_of
from server.journal.opening import Opening
from server.journal.tables import entries, quarantine, watermarks
from server.money.making import make_wallet_store
from server.money.results import Paid, Spend
from server.money.wallet import Wallet
from server.orders.topups import Purchases, TopUp
from server.processes.retell import drain_and_retell
from server.rooms.history import SCRIPTS as HISTORY_SCRIPTS
from server.rooms.history import History
from server.settings import Settings
from server.store import keys
from server.store.client import Store
from server.store.embedded import WALLET
from tests.boot import BootTime
from tests.money import a_gift, has_receipt
from tests.program import ROOT, eventually
from tests.site import new_gift_id
from tests.stores import ValkeyProcess, settings
from tests.torture.book import Book
from tests.torture.shim import PowerCut

WAIT_S = 40.0  # a deadline only: the machine may be busy
BOOT = BootTime()
CLOCK = Clock(time.time, BOOT)


class Node:
    """One node's wallet."""

    def __init__(self, of: Settings, book: Book) -> None:
        self.engine = database.connect(of.journal_address)
        self.opening = Opening(self.engine, CLOCK)
        self.store = make_wallet_store(of, self.opening, of.wallet_address)
        self.wallet = Wallet(self.store, lambda changes: None)
        self.purchases = Purchases(self.engine, self.wallet, CLOCK)
        self._book = book

    async def start(self) -> None:
        await self.wallet.start()
        await self.wallet.wait_up(WAIT_S)

    async def stop(self) -> None:
        await self.wallet.stop()
        self.engine.dispose()

    async def send(self, spend: Spend) -> Paid | Refused:
        """Send a gift, new or again, and write the answer into the book."""
        book = self._book
        book.sent[spend.gift_id] = spend
        if spend.gift_id not in book.acked:
            book.open[spend.gift_id] = spend
        try:
            async with asyncio.timeout(WAIT_S):
                paid = await self.wallet.spend(spend)
        except Refused as refused:
            book.refused[refused.reason.value] += 1
            if refused.reason in (Refusal.INSUFFICIENT_COINS, Refusal.EXPIRED_ID):
                book.open.pop(spend.gift_id, None)
            return refused
        before = book.acked.setdefault(spend.gift_id, paid)
        assert (before.balance, before.combo_count) == (paid.balance, paid.combo_count), (before, paid)
        book.open.pop(spend.gift_id, None)
        book.news.set()
        return paid

    async def buy(self, user: str, coins: int) -> None:
        """Sell coins to a user: repeat the order until it succeeds."""
        order = TopUp(f"t-{new_gift_id()}", coins, "test")
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    await self.purchases.top_up(user, order)
                    break
                except Refused:
                    await self.until_usable()
        self._book.bought[user] += coins

    async def reconnected(self) -> None:
        """Wait until the node notices that its store is gone, and then until it has a store again."""
        await eventually(lambda: not self.store.up, WAIT_S, "a lost connection")
        await self.until_usable()

    async def until_usable(self) -> None:
        """Wait for all of the wallet that can be opened. Time passes while its store waits for one that it replaces."""

        def usable() -> bool:
            BOOT.let_pass(self.store.fence.wait_s)
            return self.store.usable and not any(why.soon for why in self.store.closed.values())

        await eventually(usable, WAIT_S, "a wallet that can be used")


class Bank:
    """A wallet store, a journal and one node in a folder, with seeded randomness. Tests may add nodes and stores."""

    def __init__(self, folder: Path, empty_journal: Path, room: ValkeyProcess, seed: int, **environ: str) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        own = {"LIVEROOM_ROOM_URL": f"unix://{room.socket}", "LIVEROOM_LOG": "error", "LIVEROOM_METRICS_PORT": "0"}
        self.environ = {**own, **environ}
        self.settings = settings(folder, **self.environ)
        shutil.copyfile(empty_journal, folder / "journal.sqlite3")
        self.store = ValkeyProcess(WALLET, self.settings)
        self.book = Book()
        self.node = Node(self.settings, self.book)
        self.viewers = [f"viewer{n}" for n in range(12)]
        self.creators = [f"creator{n}" for n in range(3)]
        self.processes: list[subprocess.Popen[bytes]] = []
        self._power: PowerCut | None = None

    @property
    def data(self) -> Path:
        """The folder of the wallet store's files."""
        return self.folder / WALLET.name

    @property
    def power(self) -> PowerCut:
        """The store's disk and clock."""
        assert self._power is not None
        return self._power

    def stand_between(self, library: Path, options: Sequence[str]) -> None:
        """Put a disk and a clock that the test controls under the store, and add options."""
        self._power = PowerCut(library, self.folder)
        self.store.environ.update(self._power.environ)
        self.store.options = tuple(options)

    @property
    def engine(self) -> Engine:
        return self.node.engine

    async def open(self, coins: int = 100_000) -> None:
        """Start store and node, and sell coins."""
        self.store.start()
        await self.open_node(coins)

    async def open_node(self, coins: int = 100_000) -> None:
        """Start the node on a store that runs already, and sell coins; one viewer stays poor."""
        await self.node.start()
        for viewer in self.viewers[:-1]:
            await self.node.buy(viewer, coins)
        await self.node.buy(self.viewers[-1], 40)

    def use_address(self, wallet: str) -> None:
        """Give the node another address of the store, before it is started."""
        self.environ["LIVEROOM_WALLET_URL"] = wallet
        self.node = Node(settings(self.folder, **self.environ), self.book)

    async def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        await self.node.stop()
        if self.store.process is not None:
            self.store.kill()

    # --- sending -----------------------------------------------------------------------------------------------
    def gift(self, **fields: Any) -> Spend:
        """A new gift of somebody to somebody."""
        pick = self.random
        coins = pick.randint(1, 9)
        combo = f"combo{pick.randrange(3)}" if pick.random() < 0.3 else None
        given = {"viewer": pick.choice(self.viewers), "creator": pick.choice(self.creators), "coins": coins}
        return a_gift(**{**given, "combo": combo, **fields})

    @contextlib.asynccontextmanager
    async def giving(self, givers: int = 24, *nodes: Node) -> AsyncIterator[None]:
        """Until the block ends, people send one gift after the other, and sometimes repeat an unknown one."""
        stopping = asyncio.Event()
        tasks = [
            asyncio.create_task(self._give(node, stopping)) for node in nodes or [self.node] for _ in range(givers)
        ]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)

    async def _give(self, node: Node, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            again = self.book.unknown if self.random.random() < 0.05 else []
            spend = self.random.choice(again) if again else self.gift()
            outcome = await node.send(spend)
            if isinstance(outcome, Refused) and outcome.reason is Refusal.WALLET_UNAVAILABLE:
                await eventually(lambda: node.store.usable or stopping.is_set(), WAIT_S, "a wallet that can be used")

    async def give(self, count: int) -> list[Spend]:
        """Send this many gifts at once."""
        gifts = [self.gift() for _ in range(count)]
        await asyncio.gather(*map(self.node.send, gifts))
        return gifts

    async def one_more(self, viewer: str, **fields: Any) -> Spend:
        """Send a gift of this viewer, which must be paid."""
        gift = self.gift(viewer=viewer, combo=None, **fields)
        outcome = await self.node.send(gift)
        assert isinstance(outcome, Paid), outcome
        return gift

    async def more(self, acks: int) -> None:
        """Wait until this many more gifts are answered with ok."""
        wanted = len(self.book.acked) + acks
        async with asyncio.timeout(WAIT_S):
            while len(self.book.acked) < wanted:
                self.book.news.clear()
                await self.book.news.wait()

    async def resolve(self) -> None:
        """Repeat each gift whose outcome is unknown, under its id, until it has one."""
        async with asyncio.timeout(WAIT_S):
            while unknown := self.book.unknown:
                await self.node.until_usable()
                await asyncio.gather(*map(self.node.send, unknown))

    # --- breaking ----------------------------------------------------------------------------------------------
    async def kill_soon(self, process: subprocess.Popen[bytes], within_s: float = 0.03) -> None:
        """SIGKILL at a random moment, and wait for the process to be gone."""
        timer = threading.Timer(self.random.uniform(0, within_s), os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        await eventually(lambda: process.poll() is not None, WAIT_S, "the end of a killed process")
        timer.join()

    async def kill_store(self) -> None:
        assert self.store.process is not None
        await self.kill_soon(self.store.process)

    def journal_process(self) -> subprocess.Popen[bytes]:
        """Run `python -m server journal` on this bank; it ends with the bank."""
        return self.run_program("journal")

    def run_program(self, *command: str) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIVEROOM_")}
        environ = {**inherited, **self.environ, "LIVEROOM_DATA": str(self.folder)}
        line = [sys.executable, "-m", "server", *command]
        with self._log_of(len(self.processes)).open("wb") as log:
            process = subprocess.Popen(line, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=log)
        self.processes.append(process)
        return process

    def _log_of(self, number: int) -> Path:
        return self.folder / f"program-{number}.log"

    async def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a program to end, and check that it exits with 0."""
        process.terminate()
        await eventually(lambda: process.poll() is not None, WAIT_S, "the end of a program")
        assert process.returncode == 0

    def said_by(self, process: subprocess.Popen[bytes]) -> str:
        """What a program wrote to its log."""
        return self._log_of(self.processes.index(process)).read_text()

    # --- journaling --------------------------------------------------------------------------------------------
    @contextlib.asynccontextmanager
    async def draining(self, address: str | None = None) -> AsyncIterator[Drain]:
        """A drain in this process, on this bank's store or another; the test calls its steps."""
        wallet = Store("wallet", address or self.settings.wallet_address, scripts=AUDIT_SCRIPTS)
        rooms = Store("room", self.settings.room_address, scripts=[*HISTORY_SCRIPTS, *GIFT_SCRIPTS])
        await wallet.start()
        await rooms.start()
        await wallet.wait_up(WAIT_S)
        try:
            yield drain_and_retell(self.engine, wallet, History(rooms), CLOCK, tail_of(self.settings.log_entries_max))
        finally:
            await wallet.stop()
            await rooms.stop()

    async def drain(self, address: str | None = None) -> int:
        """Journal everything in the log. Returns the number of entries."""
        moved = 0
        async with self.draining(address) as drain:
            while count := await drain.drain_once():
                moved += count
        return moved

    async def until_journaled(self) -> None:
        """Wait until a journal process has journaled everything."""
        with self.look() as look:
            await eventually(lambda: marks_of(self.engine) == last_ids(look), WAIT_S, "a journal that has all")

    async def audit(self, audit: Audit | None = None) -> Report:
        wallet = Store("wallet", self.settings.wallet_address, scripts=AUDIT_SCRIPTS)
        await wallet.start()
        try:
            await wallet.wait_up(WAIT_S)
            return await (audit or Audit(self.engine, wallet, CLOCK)).run(freeze=True)
        finally:
            await wallet.stop()

    # --- looking -----------------------------------------------------------------------------------------------
    def look(self) -> redis.Redis:
        return self.store.client()

    def lost(self, gift_ids: Iterable[str]) -> list[str]:
        """Those of these gifts that the store does not have."""
        with self.look() as look:
            return [id for id in gift_ids if not has_receipt(look, self.book.sent[id].viewer, id)]

    def gift_rows(self) -> dict[str, Any]:
        """The journal's gifts by id."""
        with database.reading(self.engine).connect() as connection:
            rows = connection.execute(select(entries).where(entries.c.kind == "gift")).all()
        by_id = {row.ref: row for row in rows}
        assert len(by_id) == len(rows), "an id is in the journal twice"
        return by_id

    def set_aside(self) -> dict[int, str]:
        """The frozen partitions, and why."""
        with database.reading(self.engine).connect() as connection:
            return {row.partition: row.reason for row in connection.execute(select(quarantine))}

    async def check(self) -> None:
        """At the end: each gift is in store and journal once, and every sum is right."""
        assert self.book.unknown == []
        await self.drain()
        assert self.set_aside() == {}
        rows = self.gift_rows()
        assert rows.keys() == self.book.acked.keys()
        for id, paid in self.book.acked.items():
            row = rows[id]
            assert (row.balance, row.combo_count) == (paid.balance, paid.combo_count)
            assert (row.user_id, row.coins) == (self.book.sent[id].viewer, self.book.sent[id].coins)
        with self.look() as look:
            self._check_store(look)
        report = await self.audit()
        assert report.ok, report
        assert (report.not_compared, report.oldest_unverified_ms) == ({}, 0)
        spent = sum(self.book.sent[id].coins for id in self.book.acked)
        sold = sum(self.book.bought.values())
        assert (report.coins_sold, report.coins_spent, report.coins_held) == (sold, spent, sold - spent)

    def _check_store(self, look: redis.Redis) -> None:
        acked = [self.book.sent[id] for id in self.book.acked]
        spent: Counter[str] = Counter()
        earned: Counter[tuple[int, str]] = Counter()
        for spend in acked:
            spent[spend.viewer] += spend.coins
            earned[(keys.partition_of(spend.viewer), spend.creator)] += spend.diamonds
        for user, coins in self.book.bought.items():
            held = int(look.hget(keys.wallet(user), "c"))
            assert held == coins - spent[user] >= 0, user
        for (partition, creator), diamonds in earned.items():
            assert int(look.get(keys.credit(partition, creator)) or 0) == diamonds
        assert marks_of(self.engine) == last_ids(look)


def marks_of(engine: Engine) -> dict[int, str]:
    """How far each partition is journaled."""
    with database.reading(engine).connect() as connection:
        return {row.partition: f"{row.epoch}-{row.n}" for row in connection.execute(select(watermarks))}


def last_ids(look: redis.Redis) -> dict[int, str]:
    """The last id of each partition's log."""
    found = {}
    for partition in range(limits.WALLET_PARTITIONS):
        if look.exists(keys.log(partition)):
            found[partition] = look.xinfo_stream(keys.log(partition))["last-generated-id"]
    return found
