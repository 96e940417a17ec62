"""Starts a cluster of primaries to measure, each durable like the wallet store, all on the store's core."""

import contextlib
import functools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from server import limits
from server.bench import machine
from server.settings import child_environment
from server.store import embedded

SLOTS = 16_384
BUS_ABOVE = 10_000  # a primary's cluster port is so much above its client port


@contextlib.contextmanager
def cluster(below: Path, number: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the cluster's address and the primaries' pids."""
    ports, processes = [_free_port() for _ in range(number)], list[subprocess.Popen[bytes]]()
    try:
        for n, port in enumerate(ports):
            processes.append(_start(below / f"primary-{n}", port))
        clients: list[Any] = [redis.Redis(port=port, protocol=2, decode_responses=True) for port in ports]
        for n, client in enumerate(clients):
            _until(client.ping)
            first, last = SLOTS * n // number, SLOTS * (n + 1) // number - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for port in ports[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        for client in clients:
            _until(functools.partial(_whole, client, number))
            client.close()
        yield f"cluster://127.0.0.1:{ports[0]}", tuple(process.pid for process in processes)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "cluster-enabled": "yes",
        "cluster-allow-replica-migration": "no",
        "logfile": folder / "valkey.log",
    }
    line = [embedded.binary(), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    place = functools.partial(machine.on_core, machine.STORE_CPU, os.getpid())
    return subprocess.Popen(line, env=child_environment(), preexec_fn=place)  # noqa: PLW1509, S603


def _whole(client: Any, number: int) -> bool:
    about = str(client.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in about and f"cluster_known_nodes:{number}" in about


def _until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + limits.STORE_START_S
    while True:
        with contextlib.suppress(redis.exceptions.RedisError):
            if holds():
                return
        if time.monotonic() > until:
            raise TimeoutError("the cluster did not start")
        time.sleep(limits.STORE_RETRY_S)


def _free_port() -> int:
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port + BUS_ABOVE < 1 << 16:
                with contextlib.suppress(OSError):
                    second.bind(("127.0.0.1", port + BUS_ABOVE))
                    return port
