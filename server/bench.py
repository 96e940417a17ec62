"""Measures Wallet.spend alone, by hand: `python -m server.bench spend`, on an embedded store in a folder of its own."""

import argparse
import asyncio
import contextlib
import functools
import gc
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from protocol.gifts import GiftSent, ShownGift
from protocol.ids import uuid7
from protocol.wire import User, encode
from server import catalogue, limits, settings
from server.app import make_wallet_store
from server.features.gifts import GiftEntry
from server.journal import database
from server.journal.opening import Opening
from server.money import Spend, fingerprint
from server.store import embedded
from server.wallet import Wallet

VIEWERS = 1000
CREATORS = 10
WARM_UP_S = 1.0
MADE_PER_S = 30_000  # gifts that lie ready for each second that is measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m server.bench")
    parser.add_argument("what", choices=("spend",))
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--in-flight", type=int, default=limits.SPEND_BATCH_MAX * 4, help="gifts that wait at a time")
    parser.add_argument("--folder", type=Path, help="where the store writes: the disk that is measured")
    parser.add_argument("--store-cpu", type=int, default=0)
    parser.add_argument("--driver-cpu", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one line for programs")
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="liveroom-bench-", dir=args.folder) as folder:
        figures = _measure(Path(folder), args)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    return 0


def _measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    configured = settings.load({"LIVEROOM_DATA": str(folder)})
    before = fdatasyncs_per_s(folder)
    with _store(configured, args.store_cpu) as store:
        _pin(0, args.driver_cpu)
        gc.freeze()  # as the node does
        figures = uvloop.run(_spend(configured, args.seconds, args.in_flight, store.pid))
    return {**figures, "fdatasyncs_per_s_before": before, "fdatasyncs_per_s_after": fdatasyncs_per_s(folder)}


@contextlib.contextmanager
def _store(configured: settings.Settings, cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    """The wallet store as `run` starts it: appendfsync always."""
    command = embedded.command(embedded.WALLET, configured)
    end_with_us = functools.partial(embedded.die_with_parent, os.getpid())
    store = subprocess.Popen(command, preexec_fn=end_with_us)  # noqa: PLW1509, S603
    try:
        _pin(store.pid, cpu)
        yield store
    finally:
        store.terminate()
        store.wait()


def _pin(pid: int, cpu: int) -> None:
    """To one core; a machine without that core is measured unpinned."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {cpu})


def fdatasyncs_per_s(folder: Path) -> int:
    """What the disk does at this minute: appends of a batch's size, each synced."""
    block = bytes(limits.SPEND_BATCH_MAX * 64)
    path, done, began = folder / "fdatasync", 0, time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while time.perf_counter() - began < 1:
            file.write(block)
            os.fdatasync(file.fileno())
            done += 1
    path.unlink()
    return round(done / (time.perf_counter() - began))


class _Driver:
    """Spenders that each wait for their gift before they send the next."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self._numbers = itertools.count()
        self._gift = next(iter(catalogue.load(None).values()))
        self.until = 0.0
        self.waited_s: list[float] = []
        self.began = self.cpu_s = 0.0
        self._made: list[Spend] = []

    async def fill(self) -> None:
        """Coins for everybody, a full batch of top-ups at a time."""
        for first in range(0, VIEWERS, limits.SPEND_BATCH_MAX):
            viewers = range(first, min(first + limits.SPEND_BATCH_MAX, VIEWERS))
            coins = limits.TOPUP_COINS_MAX
            await asyncio.gather(
                *(self._wallet.top_up(f"v{n}", f"t{n}", coins, "bench", b'{"kind":"topup"}') for n in viewers)
            )

    async def run(self, spenders: int, seconds: float) -> None:
        self.waited_s = []
        self._made = [
            self._spend() for _ in range(int(seconds * MADE_PER_S))
        ]  # before the clock runs: not the wallet's work
        self.until = time.perf_counter() + seconds
        self.began, self.cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._go_on() for _ in range(spenders)))

    async def _go_on(self) -> None:
        while (began := time.perf_counter()) < self.until:
            await self._wallet.spend(self._made.pop() if self._made else self._spend())
            self.waited_s.append(time.perf_counter() - began)

    def _spend(self) -> Spend:
        """As features.gifts makes it, entry and animation included."""
        number, gift = next(self._numbers), self._gift
        viewer, creator = f"v{number % VIEWERS}", f"c{number % CREATORS}"
        gift_id = uuid7(int(time.time() * 1000))  # noqa: TID251  # there is no node here
        shown = GiftSent(
            id=gift_id,
            from_=User(user_id=viewer, name=viewer, role="viewer"),
            to=User(user_id=creator, name=creator, role="host"),
            gift=ShownGift(gift.id, gift.name, gift.coins, gift.tier, gift.animation),
            count=1,
            coins=gift.coins,
            diamonds=gift.diamonds,
            message=None,
            test=False,
            combo=None,
        )
        print_ = fingerprint("bench", creator, gift.id, 1, gift.coins, None, None)
        entry = GiftEntry(
            id=gift_id,
            viewer=viewer,
            viewer_name=viewer,
            creator=creator,
            room="bench",
            broadcast=None,
            gift=gift.id,
            count=1,
            coins=gift.coins,
            diamonds=gift.diamonds,
            combo=None,
            fp=fingerprint("bench", creator, gift.id, 1, gift.coins, None, None),
            show=msgspec.Raw(encode(shown)),
        )
        return Spend(
            gift_id=gift_id,
            viewer=viewer,
            creator=creator,
            coins=gift.coins,
            diamonds=gift.diamonds,
            count=1,
            combo=None,
            fingerprint=print_,
            entry=encode(entry),
        )


async def _spend(configured: settings.Settings, seconds: float, in_flight: int, store_pid: int) -> dict[str, Any]:
    engine = database.connect(configured.journal_address)
    await asyncio.to_thread(database.migrate, engine)
    wallet = Wallet(make_wallet_store(configured, Opening(engine), configured.wallet_address), lambda changes: None)
    await wallet.start()
    await wallet.wait_up(limits.STORE_START_S)
    driver = _Driver(wallet)
    await driver.fill()
    await driver.run(in_flight, WARM_UP_S)
    store_s = _cpu_s(store_pid)
    gifts, batches = wallet.gifts, wallet.batches
    await driver.run(in_flight, seconds)
    took_s, cpu_s, store_s = (
        time.perf_counter() - driver.began,
        time.process_time() - driver.cpu_s,
        _cpu_s(store_pid) - store_s,
    )
    gifts, batches = wallet.gifts - gifts, wallet.batches - batches
    await wallet.stop()
    engine.dispose()
    assert gifts == len(driver.waited_s)
    waited = sorted(driver.waited_s)
    return {
        "gifts_per_s": round(gifts / took_s),
        "p50_ms": round(waited[len(waited) // 2] * 1000, 2),
        "p99_ms": round(waited[len(waited) * 99 // 100] * 1000, 2),
        "driver_cpu_us_per_gift": round(cpu_s / gifts * 1000 * 1000, 1),
        "store_cpu_us_per_gift": round(store_s / gifts * 1000 * 1000, 1),
        "gifts_per_call": round(gifts / batches, 1),
        "in_flight": in_flight,
        "gifts": gifts,
    }


def _cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
