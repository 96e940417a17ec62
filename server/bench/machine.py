"""What every benchmark needs: a store on its own core, CPU time of processes, the current speed of the disk."""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from server import limits
from server.bench.postgres import PostgresProcess
from server.settings import Settings, child_environment
from server.store import embedded

STORE_CPU, DRIVER_CPU = 0, 1


@contextlib.contextmanager
def store(kind: embedded.StoreKind, configured: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A store as `python -m server run` starts it; the wallet store has appendfsync always."""
    # The child that rewrites the log gets the other core, as on any server with several cores.
    command = [*embedded.command(kind, configured), "--aof-rewrite-cpulist", str(DRIVER_CPU)]
    place = functools.partial(on_core, STORE_CPU, os.getpid())
    process = subprocess.Popen(command, env=child_environment(), preexec_fn=place)  # noqa: PLW1509, S603
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postgresql(below: Path) -> Iterator[PostgresProcess]:
    """An empty PostgreSQL that commits to disk (synchronous_commit and fsync are on), on the store's core."""
    in_child = functools.partial(on_core, STORE_CPU, os.getpid())
    server = PostgresProcess({"synchronous_commit": "on", "fsync": "on"}, in_child, below)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def on_core(cpu: int, parent_pid: int) -> None:
    """In a child, before exec: pin it and its later children to one core, and end it with its parent."""
    pin(0, cpu)
    embedded.die_with_parent(parent_pid)


def pin(pid: int, cpu: int) -> None:
    """Pin a process to one core; on a machine without that core, do nothing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {cpu})


def cpu_s(*pids: int) -> float:
    """User and system time of processes and their children (proc(5): fields 14 to 17 of stat, and `children`)."""
    return sum(map(_cpu_s, pids))


def _cpu_s(pid: int) -> float:
    used = 0.0
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        used = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
        used += sum(_cpu_s(int(child)) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return used


def fdatasyncs_per_s(folder: Path) -> int:
    """Measure the disk for a second: appends of a batch's size, each followed by fdatasync."""
    block = bytes(limits.SPEND_BATCH_MAX * 64)
    path, done, began = folder / "fdatasync", 0, time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while time.perf_counter() - began < 1:
            file.write(block)
            os.fdatasync(file.fileno())
            done += 1
    path.unlink()
    return round(done / (time.perf_counter() - began))
