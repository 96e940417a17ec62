"""A cluster's primaries as one store. Each command goes to the node of its key's slot, even after a slot has moved."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from server import background, limits
from server.store import keys
from server.store.client import Arg, Link, Store, StoreDown, StoreError, StoreRefused
from server.store.scripts import Script
from server.store.topology import SCHEME, Topology, seeds

OnUp = Callable[[Link, str], Awaitable[None]]  # takes a new connection, and the identity of the store behind it
# With these errors the store has done nothing: the command may be sent again a little later, to the right node.
NOT_HERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING")


def not_here(error: StoreError) -> bool:
    """Whether nothing was done because the slot is elsewhere or moving."""
    return isinstance(error, StoreRefused) and str(error).startswith(NOT_HERE)


class ClusterStore:
    """Like `Store`, but each call goes to its key's node, and is sent again if the slot moved and nothing was done."""

    def __init__(self, name: str, url: str, opened: Callable[[str], Store]) -> None:
        self.name = name
        self._opened = opened  # opens the primary at an address
        self._topology = Topology(url, self._follow)
        self._nodes: dict[str, Store] = {}
        self._tasks = background.Tasks(f"store-{name}-nodes")

    @property
    def up(self) -> bool:
        """Whether any primary is up: its keys can still be served."""
        return any(node.up for node in self._nodes.values())

    @property
    def refusal(self) -> str | None:
        """Why no primary can be used until a person changes something."""
        said = (node.refusal for node in self._nodes.values())
        return None if self.up else self._topology.refusal or next((why for why in said if why is not None), None)

    async def start(self) -> None:
        await self._topology.start()

    async def stop(self) -> None:
        await self._topology.stop()
        await self._tasks.wait()
        await asyncio.gather(*(node.stop() for node in self._nodes.values()))

    async def wait_up(self, timeout_s: float) -> None:
        """Wait for the map, a primary, and a moment for the others. Raises StoreDown."""
        await self._topology.wait_ready(timeout_s)
        await self._tasks.wait()
        await some_up([node.wait_up for node in self._nodes.values()], timeout_s)

    @property
    def identity(self) -> str:
        """The identity of all primaries together. It changes when one of them does. Raises StoreDown."""
        if self.away or not self._nodes:
            raise StoreDown("a primary is away")
        return " ".join(node.identity for node in self.primaries().values())

    def identity_at(self, key: str) -> str:
        """The identity of the primary that has this key. Raises StoreDown."""
        return self._node(key).identity

    def primaries(self) -> dict[str, Store]:
        """The primaries that are up, by their addresses."""
        urls = sorted(self._topology.urls())
        return {url: self._nodes[url] for url in urls if url in self._nodes and self._nodes[url].up}

    @property
    def away(self) -> int:
        """How many primaries do not answer."""
        return len(self._topology.urls()) - len(self.primaries())

    def send(self, *args: Arg) -> "asyncio.Future[Any]":
        """Send one command to the node of its key, once. Raises StoreDown."""
        future = self._node(str(args[3] if args[0] in ("EVALSHA", "EVAL") else args[1])).send(*args)
        future.add_done_callback(self._look_at)
        return future

    async def call(self, *args: Arg) -> Any:
        """Send one command and wait for its reply. Follows a slot that has moved. Raises StoreError."""
        return await self._following(lambda: self.send(*args))

    async def run(self, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a script whose keys are all in one slot. Follows a slot that has moved. Raises StoreError."""
        return await self._following(lambda: self._node(names[0]).run(script, names, args))

    async def _following(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Try again while nothing was done because the slot is elsewhere."""
        for _ in range(limits.FOLLOW_TRIES):
            try:
                return await attempt()
            except StoreRefused as refused:
                if not not_here(refused):
                    raise
                self._topology.refresh()
                await asyncio.sleep(limits.STORE_RETRY_S)
        return await attempt()

    def _node(self, key: str) -> Store:
        node = self._nodes.get(self._topology.url_of(keys.slot_of(key)) or "")
        if node is None or not node.up:
            self._topology.refresh()  # a replica may have taken its place
            raise StoreDown("the slot's primary is away")
        return node

    def _look_at(self, future: "asyncio.Future[Any]") -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, StoreError) and (not_here(error) or not isinstance(error, StoreRefused)):
            self._topology.refresh()

    def _follow(self) -> None:
        """Connect to new primaries and drop former ones. One that returns later is opened again."""
        urls = self._topology.urls()
        for url in self._nodes.keys() - urls:
            self._tasks.spawn(self._nodes.pop(url).stop())
        for url in urls - self._nodes.keys():
            self._nodes[url] = self._opened(url)
            self._tasks.spawn(self._nodes[url].start())


async def some_up(waits: Sequence[Callable[[float], Coroutine[Any, Any, None]]], timeout_s: float) -> None:
    """Wait until one primary is up, and a moment for the others: a dead one stops nobody else. Raises StoreDown."""
    tasks = background.Tasks("primaries")
    running = {tasks.share(wait(timeout_s)) for wait in waits}
    try:
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is None for task in done):
                if running:
                    await asyncio.wait(running, timeout=limits.STORE_OTHERS_S)
                return
        raise StoreDown("no primary answers")
    finally:
        await tasks.end()


def _opened(name: str, scripts: Sequence[Script], on_up: OnUp | None, opening_s: float, url: str) -> Store:
    """A store that also passes its identity to `on_up`."""

    async def opened(link: Link) -> None:
        if on_up is not None:
            await on_up(link, made.identity)

    made = Store(name, url, scripts=scripts, on_up=opened, opening_s=opening_s)
    return made


def open_store(
    name: str,
    url: str,
    scripts: Sequence[Script] = (),
    on_up: OnUp | None = None,
    opening_s: float = limits.STORE_CALL_S_MAX,
) -> Store | ClusterStore:
    """The store at an address: one server, or `cluster://host:port,host:port` for the cluster of these nodes.

    `on_up` gets each new connection and the identity of the store behind it, before anybody may use it. It may take
    `opening_s`.
    """
    opened = partial(_opened, name, scripts, on_up, opening_s)
    return ClusterStore(name, url, opened) if url.startswith(SCHEME) else opened(url)


class AnyNode:
    """Picks a cluster's nodes in turn: for pub/sub, which a cluster passes on to all of its nodes."""

    def __init__(self, url: str) -> None:
        self._seeds = seeds(url)
        self._topology = Topology(url, lambda: None)
        self._turn = 0

    async def start(self) -> None:
        await self._topology.start()

    async def stop(self) -> None:
        await self._topology.stop()

    def __call__(self) -> str:
        """The address for the next try."""
        self._topology.refresh()
        found = sorted(self._topology.urls()) or self._seeds
        self._turn += 1
        return found[self._turn % len(found)]
