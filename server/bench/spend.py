"""Durable gifts per second: through Wallet.spend, and in the plain ways on the same disk and cores."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import uvloop

from server import settings
from server.bench import machine, plain, postgres, primaries
from server.bench.giving import Givers, open_wallet
from server.journal import database
from server.store import embedded

WARM_UP_S = 1.0
PER_S_MAX = 40_000


def measure_cluster(below: Path, seconds: float, in_flight: int, number: int) -> dict[str, Any]:
    """Measure `Wallet.spend` on a cluster: its primaries share the partitions and the store's core."""
    machine.pin(0, machine.DRIVER_CPU)
    with primaries.cluster(below, number) as (url, pids):
        configured = settings.load({"LIVEROOM_DATA": str(below / "data"), "LIVEROOM_WALLET_URL": url})
        configured.data.mkdir()
        return {f"{number} primaries": uvloop.run(_spend(configured, seconds, in_flight, pids))}


def measure(below: Path, seconds: float, in_flight: int, alone: bool) -> dict[str, Any]:
    """Returns the figures of each way by name, and the disk's fdatasync rate before, between and after."""
    machine.pin(0, machine.DRIVER_CPU)
    syncs = [machine.fdatasyncs_per_s(below)]
    found: dict[str, Any] = {}
    ways = {"liveroom": _ours}
    if not alone:
        ways["redis_py"] = _redis_py
        if postgres.installed():
            ways["postgresql"] = _postgresql
    for name, way in ways.items():
        folder = below / name
        folder.mkdir()
        found[name] = way(folder, seconds, in_flight)
        shutil.rmtree(folder)
        syncs.append(machine.fdatasyncs_per_s(below))
        if name != "liveroom":
            found[name]["liveroom_is_times"] = round(found["liveroom"]["gifts_per_s"] / found[name]["gifts_per_s"], 1)
    return {**found, "fdatasyncs_per_s": syncs}


def _ours(folder: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    configured = settings.load({"LIVEROOM_DATA": str(folder)})
    with machine.store(embedded.WALLET, configured) as store:
        return uvloop.run(_spend(configured, seconds, in_flight, (store.pid,)))


async def _spend(
    configured: settings.Settings, seconds: float, in_flight: int, store_pids: tuple[int, ...]
) -> dict[str, Any]:
    engine = database.connect(configured.journal_address)
    await asyncio.to_thread(database.migrate, engine)
    wallet = await open_wallet(configured, engine)
    givers = Givers(in_flight)
    await givers.give(wallet.spend, WARM_UP_S, store_pids, PER_S_MAX)
    gifts, batches = wallet.gifts, wallet.batches
    figures = await givers.give(wallet.spend, seconds, store_pids, PER_S_MAX)
    gifts, batches = wallet.gifts - gifts, wallet.batches - batches
    await wallet.stop()
    engine.dispose()
    assert gifts == figures["gifts"]
    return {**figures, "gifts_per_call": round(gifts / batches, 1)}


def _redis_py(folder: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    configured = settings.load({"LIVEROOM_DATA": str(folder)})
    with machine.store(embedded.WALLET, configured) as store:
        return uvloop.run(plain.redis_py(configured, seconds, in_flight, store.pid))


def _postgresql(folder: Path, seconds: float, in_flight: int) -> dict[str, Any]:
    with machine.postgresql(folder) as server:
        assert server.process is not None
        return uvloop.run(plain.postgresql(server.conninfo, seconds, in_flight, server.process.pid))
