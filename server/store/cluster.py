"""A cluster's primaries as one store: each command goes to the node of its key's slot, and the map follows moves."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import structlog

from server import limits
from server.store import keys
from server.store.client import Arg, Store, StoreDown, StoreError, StoreRefused
from server.store.scripts import Script

log = structlog.get_logger()

SCHEME = "cluster://"
# Said before anything was done: the command may be sent again, to the right node, a little later.
NOT_HERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING")


def not_here(error: StoreError) -> bool:
    """Whether nothing was done because the slot is elsewhere or on its way."""
    return isinstance(error, StoreRefused) and str(error).startswith(NOT_HERE)


class Topology:
    """Which primary has which slots, as CLUSTER SLOTS says. `on_change` hears of each new map."""

    def __init__(self, url: str, on_change: Callable[[], None]) -> None:
        credentials, _, host = url.removeprefix(SCHEME).rpartition("@")
        self._prefix = f"redis://{credentials}@" if credentials else "redis://"
        self._known = [host]
        self._on_change = on_change
        self._ranges: list[tuple[int, int, str]] = []
        self._stale = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="topology")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first map. Raises StoreDown."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise StoreDown("the cluster does not answer") from None

    def refresh(self) -> None:
        """A node said that a slot is elsewhere."""
        self._stale.set()

    def url_of(self, slot: int) -> str | None:
        """The address of the slot's primary, if it has one."""
        return next((url for first, last, url in self._ranges if first <= slot <= last), None)

    def urls(self) -> set[str]:
        return {url for _, _, url in self._ranges}

    async def _keep(self) -> None:
        while True:
            for host in list(self._known):
                if await self._read(host):
                    break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.TOPOLOGY_S if self._ranges else limits.STORE_RETRY_S_MAX):
                    await self._stale.wait()
            if self._stale.is_set():
                await asyncio.sleep(limits.STORE_RETRY_S)  # many say it at once; and a failover takes its time
            self._stale.clear()

    async def _read(self, host: str) -> bool:
        """Ask one node for the map; whether it answered."""
        store = Store("topology", self._prefix + host)
        await store.start()
        try:
            await store.wait_up(limits.STORE_CONNECT_S)
            async with asyncio.timeout(limits.STORE_CONNECT_S):
                slots = cast(list[Any], await store.call("CLUSTER", "SLOTS"))
        except (StoreError, TimeoutError):
            return False
        finally:
            await store.stop()
        own_host = host.rsplit(":", 1)[0]
        ranges = []
        for first, last, primary, *_ in slots:
            at = f"{(primary[0] or b'').decode() or own_host}:{primary[1]}"
            ranges.append((first, last, self._prefix + at))
        if ranges and ranges != self._ranges:
            self._ranges = ranges
            self._known = list({*(url.removeprefix(self._prefix) for _, _, url in ranges), *self._known})
            log.info("topology", nodes=len(self.urls()))
            self._on_change()
        self._ready.set()
        return True


class ClusterStore:
    """Like `Store`, for who reads logs and writes what may be written twice: the journal's side."""

    def __init__(self, name: str, url: str, *, scripts: Sequence[Script] = ()) -> None:
        self.name = name
        self._scripts = scripts
        self._topology = Topology(url, self._follow)
        self._nodes: dict[str, Store] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def up(self) -> bool:
        return bool(self._nodes) and all(node.up for node in self._nodes.values())

    async def start(self) -> None:
        await self._topology.start()

    async def stop(self) -> None:
        await self._topology.stop()
        await asyncio.gather(*self._tasks, *(node.stop() for node in self._nodes.values()))

    async def wait_up(self, timeout_s: float) -> None:
        """Wait for the map and every primary. Raises StoreDown."""
        await self._topology.wait_ready(timeout_s)
        await asyncio.gather(*self._tasks, *(node.wait_up(timeout_s) for node in self._nodes.values()))

    def send(self, *args: Arg) -> "asyncio.Future[Any]":
        """Send one command to the node of its key. Raises StoreDown."""
        future = self._node(str(args[3] if args[0] == "EVALSHA" else args[1])).send(*args)
        future.add_done_callback(self._look_at)
        return future

    async def call(self, *args: Arg) -> Any:
        """Send one command and wait for its reply. Raises StoreError."""
        return await self.send(*args)

    async def run(self, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a script whose keys are all of one slot. Raises StoreError."""
        try:
            return await self._node(names[0]).run(script, names, args)
        except StoreRefused as refused:
            if not_here(refused):
                self._topology.refresh()
            raise

    def _node(self, key: str) -> Store:
        url = self._topology.url_of(keys.slot(key[key.index("{") + 1 : key.index("}")]))
        if url is None or url not in self._nodes:
            raise StoreDown("no node has this slot")
        return self._nodes[url]

    def _look_at(self, future: "asyncio.Future[Any]") -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, StoreError) and (not_here(error) or not isinstance(error, StoreRefused)):
            self._topology.refresh()

    def _follow(self) -> None:
        """New primaries are connected to; old ones are kept, they may be replicas that come back."""
        for url in self._topology.urls() - self._nodes.keys():
            self._nodes[url] = Store(self.name, url, scripts=self._scripts)
            task = asyncio.create_task(self._nodes[url].start())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def open_store(name: str, url: str, scripts: Sequence[Script] = ()) -> Store | ClusterStore:
    """A store by its address: one server, or `cluster://host:port` for the cluster that this node belongs to."""
    if url.startswith(SCHEME):
        return ClusterStore(name, url, scripts=scripts)
    return Store(name, url, scripts=scripts)
