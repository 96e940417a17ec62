"""Attackers in a process of their own: they come back again and again, until SIGTERM. Then it prints how they ended."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import uvloop

from loadtest.processes import OTHER_CPU, pin

WAIT_S = 20.0


# --- in that process -----------------------------------------------------------------------------------------------
async def again(attack: Callable[[], Awaitable[str]], ends: Counter[str], chance: Random, pause_s: float) -> None:
    """Attack until cancelled, and count how each attack ended. `pause_s` is the mean pause before the next."""
    while True:
        try:
            ends[await attack()] += 1
        except (OSError, asyncio.IncompleteReadError):
            ends["no close frame"] += 1
        except asyncio.CancelledError:
            ends["by us"] += 1
            raise
        await asyncio.sleep(pause_s * chance.uniform(0.5, 1.5))


def run(attackers: Iterable[Coroutine[Any, Any, None]], ends: object) -> None:
    """Run these until SIGTERM, and print what `ends` then holds."""
    uvloop.run(_until_stopped(attackers))
    os.write(sys.stdout.fileno(), msgspec.json.encode(ends))


async def _until_stopped(attackers: Iterable[Coroutine[Any, Any, None]]) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    os.write(sys.stdout.fileno(), b"begun\n")
    tasks = [asyncio.create_task(attacker) for attacker in attackers]
    await stopping.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# --- beside it -----------------------------------------------------------------------------------------------------
@contextmanager
def attacking(module: str, *args: str) -> Iterator[list[bytes]]:
    """Run such a process until the block ends. Then the list has what it printed. Raises RuntimeError if it failed."""
    said: list[bytes] = []
    process = subprocess.Popen([sys.executable, "-m", module, *args], stdout=subprocess.PIPE)
    pin(process.pid, OTHER_CPU)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has started, which takes CPU from the audience's core
        yield said
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=WAIT_S)
        if process.returncode:
            raise RuntimeError(f"the attackers ended with status {process.returncode}")
        said.append(output)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
