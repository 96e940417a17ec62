"""A Valkey Cluster of three primaries, optionally with a replica: embedded stores, as durable as the wallet's."""

import functools
import os
import socket
import subprocess
import time
from pathlib import Path

import redis

from server.store import embedded
from tests.pair import in_step


def free_port() -> int:
    """A port that is free, and whose cluster bus port (10,000 above) is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port + 10_000 < 65_536:
                try:
                    second.bind(("127.0.0.1", port + 10_000))
                except OSError:
                    continue
                return port


class Primary:
    """One node of the cluster."""

    def __init__(self, folder: Path, host: str) -> None:
        folder.mkdir()
        self.host = host
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(host=host, port=self.port, decode_responses=True, protocol=2)

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": self.host,
            "dir": self.folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "cluster-enabled": "yes",
            "cluster-node-timeout": 2000,
            "enable-debug-command": "yes",
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": 0,
            "repl-diskless-load": "flush-before-load",
            "logfile": self.folder / "valkey.log",
        }
        line = [embedded.binary()]
        for name, value in options.items():
            line += [f"--{name}", str(value)]
        self.process = subprocess.Popen(line, preexec_fn=functools.partial(embedded.die_with_parent, os.getpid()))
        self.wait(self.client.ping)

    def wait(self, holds: object) -> None:
        """Wait until `holds()` is true."""
        deadline = time.monotonic() + 20
        while True:
            assert self.process is not None
            assert self.process.poll() is None, "a node of the cluster ended"
            try:
                if holds():  # type: ignore[operator]
                    return
            except redis.exceptions.RedisError:
                pass
            assert time.monotonic() < deadline, "the cluster does not come up"
            time.sleep(0.02)

    @property
    def id(self) -> str:
        return str(self.client.execute_command("CLUSTER", "MYID"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()  # a primary that is asked to end waits for its replica


class Cluster:
    """Three primaries with a third of the slots each; the first may have a replica, which is then the last node."""

    def __init__(self, folder: Path, *, replicated: bool = False, host: str = "127.0.0.1") -> None:
        self.nodes = [Primary(folder / f"n{n}", host) for n in range(3 + replicated)]

    def start(self) -> None:
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(self.nodes):
            node.start()
            if number < 3:
                node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", node.host, self.nodes[0].port)
        for node in self.nodes:
            node.wait(lambda node=node: self.whole(node))
        for replica in self.nodes[3:]:
            replica.client.execute_command("CLUSTER", "REPLICATE", self.nodes[0].id)
            replica.wait(lambda replica=replica: in_step(self.nodes[0].client, replica.client))

    def whole(self, node: Primary) -> bool:
        """Whether a node knows all others, and all slots are served."""
        about = str(node.client.execute_command("CLUSTER", "INFO"))
        return "cluster_state:ok" in about and f"cluster_known_nodes:{len(self.nodes)}" in about

    @property
    def url(self) -> str:
        """Two seeds: one that nobody answers at, and a primary that no test kills."""
        return f"cluster://127.0.0.1:1,127.0.0.1:{self.nodes[2].port}"

    def owner(self, slot: int) -> Primary:
        """The primary that has this slot, as the first node sees it."""
        for first, last, primary, *_ in self.nodes[0].client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody has slot {slot}")

    def move(self, slot: int, to: Primary) -> None:
        """Move one slot while it is used (Valkey 9's atomic migration), and wait until it has moved."""
        source = self.owner(slot)
        source.client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", to.id)
        source.wait(lambda: self.owner(slot) is to)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
