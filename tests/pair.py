"""A primary and its replica, a link between them that can freeze, and one address for the current primary."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import redis

from server.store.embedded import StoreKind
from tests.program import eventually, free_port
from tests.stores import ValkeyProcess, settings

WAIT_S = 40.0


class Link:
    """A TCP proxy on 127.0.0.1. It can hold back what passes, and its target can change for new connections."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Nothing passes in either direction, and no connection ends."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            pumps = [asyncio.ensure_future(self._pump(*each)) for each in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                far_writer.transport.abort()  # before the first await that `cut` may cancel
                await asyncio.gather(*pumps, return_exceptions=True)
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._flows.wait()
            writer.write(data)


class Pair:
    """The two stores. Nodes connect to `address`, which leads to the current primary."""

    def __init__(self, kind: StoreKind, folder: Path) -> None:
        self.primary, self.replica = _Member(kind, folder / "a"), _Member(kind, folder / "b")
        self.replication = Link(self.primary.port)
        self.front = Link(self.primary.port)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, kind: StoreKind) -> AsyncIterator["Pair"]:
        """Run two stores of this kind, in step, until the block ends."""
        with tempfile.TemporaryDirectory(prefix="lrt-pair-", dir="/tmp") as folder:
            made = cls(kind, Path(folder))
            try:
                await made.start()
                yield made
            finally:
                await made.stop()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.front.port}"

    async def start(self) -> None:
        await self.replication.start()
        await self.front.start()
        self.primary.start()
        self.replica.start()
        self.follow()
        await self.until_in_step()

    async def stop(self) -> None:
        await self.front.stop()
        await self.replication.stop()
        for store in (self.primary, self.replica):
            if store.process is not None:
                store.kill()  # a primary that is asked to end waits for its replica

    def follow(self) -> None:
        """The replica copies the primary over a link that works."""
        self.replication.cut()
        self.replication.target = self.primary.port
        self.replication.thaw()
        with self.replica.client() as replica:
            replica.replicaof("127.0.0.1", self.replication.port)

    async def until_in_step(self) -> None:
        """Wait until the replica has everything.

        It asks in a thread: a loading replica does not answer, and its data comes through this event loop.
        """
        with self.primary.client() as primary, self.replica.client() as replica:
            await eventually(lambda: asyncio.to_thread(in_step, primary, replica), WAIT_S, "a replica in step")

    def promote(self) -> None:
        """The replica takes the place of the primary, which may be dead; clients are disconnected."""
        with self.replica.client() as replica:
            replica.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        self.front.target = self.primary.port
        self.front.cut()

    async def rejoin(self) -> None:
        """The former primary comes back empty and follows the new one."""
        shutil.rmtree(self.replica.settings.data)
        self.replica.start()
        self.follow()
        await self.until_in_step()


class _Member(ValkeyProcess):
    """A store that also listens on a port."""

    def __init__(self, kind: StoreKind, folder: Path) -> None:
        self.port = free_port()
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        # In step within 20 ms: with the defaults both sides wait for a timer of one second.
        options += ("--repl-diskless-load", "flush-before-load", "--repl-diskless-sync", "no")
        super().__init__(kind, settings(folder), options=options)

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


def in_step(primary: redis.Redis, replica: redis.Redis) -> bool:
    """Does the replica have everything?"""
    return _offset(replica, "slave") == _offset(primary, "master")


def _offset(look: redis.Redis, whose: str) -> int:
    about = look.info("replication")
    if whose == "slave" and about.get("master_link_status") != "up":
        return -1
    return int(about[f"{whose}_repl_offset"])
