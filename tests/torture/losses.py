"""What a crash can cost: acknowledged gifts that are lost, by durability level and fault. It is run by hand.

`python -m tests.torture.losses` prints the table of README.md. Each cell runs a wallet store with a replica, a room
store, SQLite, and people who give at a steady rate until the fault happens to the store.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from server.journal import database
from server.store.embedded import ROOM, WALLET
from tests.pair import Pair
from tests.stores import ValkeyProcess, settings
from tests.torture import shim
from tests.torture.bank import Bank

TICK_S = 0.01
SILENT_S = 1.0  # how long the replica has received nothing when it is promoted

SEEDS = itertools.count(1)

LEVELS = {  # the store's options and the node's settings
    "local": ((), {}),
    "replicated": ((), {"LIVEROOM_DURABILITY": "replicated"}),
    "everysec": (("--appendfsync", "everysec"), {"LIVEROOM_WALLET_GUARD": "relaxed"}),
}
FAULTS = {
    "killed": "`kill -9` of the store",
    "power": "power cut of the store's machine",
    "promoted": "primary lost, replica promoted",
}


@dataclasses.dataclass
class Cost:
    """Gifts that were acknowledged before the fault, and how many of them the store no longer has."""

    acked: int = 0
    lost: int = 0

    def add(self, other: "Cost") -> None:
        self.acked += other.acked
        self.lost += other.lost

    def __str__(self) -> str:
        return f"{self.lost:,} of {self.acked:,}"


@contextlib.asynccontextmanager
async def bank_on_a_pair(library: Path, level: str) -> AsyncIterator[tuple[Bank, Pair, shim.PowerCut]]:
    """An open bank at this level. Its store is the primary of a pair, and its power can be cut."""
    options, environ = LEVELS[level]
    with tempfile.TemporaryDirectory(prefix="lrt-", dir="/tmp") as name:
        folder = Path(name)
        empty = database.connect(f"sqlite:///{folder / 'empty.sqlite3'}")
        database.migrate(empty)
        empty.dispose()
        room, pair = ValkeyProcess(ROOM, settings(folder)), Pair(WALLET, folder)
        power = shim.PowerCut(library, folder)
        pair.primary.environ.update(power.environ)
        for store in (pair.primary, pair.replica):
            store.options += options
        room.start()
        try:
            await pair.start()
            at = {"LIVEROOM_WALLET_URL": pair.address, "LIVEROOM_LOG": "critical", **environ}
            bank = Bank(folder, folder / "empty.sqlite3", room, next(SEEDS), **at)
            bank.store = pair.primary
            try:
                await bank.open_node(10_000_000)
                await pair.until_in_step()
                yield bank, pair, power
            finally:
                await bank.close()
        finally:
            await pair.stop()
            room.stop()


async def happen(fault: str, bank: Bank, pair: Pair, power: shim.PowerCut) -> set[str]:
    """Let the fault happen, and have a store again. Returns the gifts that were acknowledged before."""
    if fault == "promoted":
        pair.replication.freeze()
        await asyncio.sleep(SILENT_S)
    acked = set(bank.book.acked)
    bank.store.kill()
    if fault == "power":
        power.cut(pair.primary.settings.data / "wallet")
    if fault == "promoted":
        pair.promote()
        bank.store = pair.primary
    else:
        bank.store.start()
    await bank.node.reconnected()
    return acked


@contextlib.asynccontextmanager
async def giving(bank: Bank, per_s: float) -> AsyncIterator[None]:
    """Send this many gifts a second until the block ends, even if earlier ones fail or wait."""
    sent: set[asyncio.Task[object]] = set()

    async def send() -> None:
        due = 0.0
        while True:
            due += per_s * TICK_S
            while due >= 1:
                due -= 1
                task: asyncio.Task[object] = asyncio.create_task(bank.node.send(bank.gift()))
                sent.add(task)
                task.add_done_callback(sent.discard)
            await asyncio.sleep(TICK_S)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.gather(sending, *sent, return_exceptions=True)


async def cost(library: Path, level: str, fault: str, *, plan: argparse.Namespace, journal: bool) -> Cost:
    """What this fault costs at this level, with the journal running or stopped."""
    async with bank_on_a_pair(library, level) as (bank, pair, power):
        if journal:
            bank.journal_process()
            await bank.until_journaled()
        async with giving(bank, plan.gifts_per_s):
            await asyncio.sleep(
                plan.seconds * bank.random.uniform(1, 2)
            )  # so that the last fsync is not always equally long ago
            acked = await happen(fault, bank, pair, power)
        return Cost(len(acked), len(bank.lost(acked)))


async def measure(library: Path, plan: argparse.Namespace) -> None:
    """Print the table, row by row."""
    print("| | " + " | ".join(FAULTS.values()) + " |")
    print("|---" * (len(FAULTS) + 1) + "|", flush=True)
    for level in LEVELS:
        cells = []
        for fault in FAULTS:
            away, running = Cost(), Cost()
            for _ in range(plan.rounds):
                away.add(await cost(library, level, fault, plan=plan, journal=False))
                running.add(await cost(library, level, fault, plan=plan, journal=True))
            cells.append(f"{away}; {running}")
        print(f"| `{level}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.losses", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="of each cell")
    parser.add_argument("--seconds", type=float, default=1.5, help="of giving, at least, before it happens")
    parser.add_argument("--gifts-per-s", type=float, default=2_000)
    plan = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        library = shim.build(Path(folder))
        print("Acknowledged gifts that were lost, of those acknowledged: with the journal away; with it running.\n")
        asyncio.run(measure(library, plan))


if __name__ == "__main__":
    main()
