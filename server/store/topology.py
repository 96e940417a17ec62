"""Which primary of a cluster has which slots: asks several of its nodes, and believes the newest claim to each slot.

A node that is cut off from the others goes on answering with its old map. So one node alone is never believed against
what is known already. The rule is the cluster's own: of two claims to a slot, the one with the later epoch holds. The
cluster's current epoch does not help: a replica that is cut off raises it each time it tries to be elected.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import structlog
from msgspec import Struct

from server import background, limits
from server.store.client import Store, StoreDown, StoreError, StoreRefused

log = structlog.get_logger()

SCHEME = "cluster://"


def seeds(url: str) -> list[str]:
    """The addresses of the nodes in `cluster://user:password@host:port,host:port`. Any of them knows all others."""
    credentials, at, hosts = url.removeprefix(SCHEME).rpartition("@")
    return [f"redis://{credentials}{at}{address_of(host)}" for host in hosts.split(",")]


def address_of(text: str) -> str:
    """`host:port` as it stands in an address: IPv6 in brackets, and without the bus's port or a host's name.

    Takes what clusters say and people write: `10.0.0.1:7000@17000,name`, `::1:7000@17000`, `[::1]:7000`, `name`.
    """
    at = text.partition("@")[0]
    host, colon, port = at.rpartition(":")
    if ":" in host and not host.startswith("["):
        return f"[{host}]:{port}"
    return at if colon else text


class Claim(NamedTuple):
    """A primary's claim to slots, as one node knows it. A later epoch holds."""

    first: int
    last: int
    url: str
    epoch: int


class View(Struct, frozen=True):
    """What one node says: claims in the order of slots, and the replicas that it knows."""

    claims: list[Claim]
    replicas: list[str]

    def claim(self, slot: int) -> Claim | None:
        """Who has this slot."""
        index = bisect_right(self.claims, slot, key=lambda claim: claim.first) - 1
        return self.claims[index] if index >= 0 and slot <= self.claims[index].last else None


def newest(views: Sequence[View], before: View, asked: int) -> list[Claim]:
    """Of each slot the claim with the latest epoch; of several, the one that most views have.

    What is known `before` stays against older claims, unless more than half of the nodes that were asked agree that it
    is past: the cluster may have been set up again.
    """
    agreed = len(views) * 2 > asked
    every = [*views, before]
    edges = sorted({edge for view in every for claim in view.claims for edge in (claim.first, claim.last + 1)})
    found: list[Claim] = []
    for first, end in pairwise(edges):
        best = _best([view.claim(first) for view in views])
        known = before.claim(first)
        if known is not None and not agreed and (best is None or best.epoch < known.epoch):
            best = known
        if best is None:
            continue
        if found and found[-1].last + 1 == first and found[-1][2:] == best[2:]:
            found[-1] = found[-1]._replace(last=end - 1)
        else:
            found.append(Claim(first, end - 1, best.url, best.epoch))
    return found


def _best(claims: Sequence[Claim | None]) -> Claim | None:
    known = [claim for claim in claims if claim is not None]
    if not known:
        return None
    epoch = max(claim.epoch for claim in known)
    url = Counter(claim.url for claim in known if claim.epoch == epoch).most_common(1)[0][0]
    return next(claim for claim in known if (claim.url, claim.epoch) == (url, epoch))


class Topology:
    """Which primary has which slots. Calls `on_change` after each new map."""

    def __init__(self, url: str, on_change: Callable[[], None]) -> None:
        self._seeds = seeds(url)
        self._prefix = self._seeds[0].rpartition("@")[0] + "@" if "@" in self._seeds[0] else "redis://"
        self._known = list(self._seeds)
        self._turn = 0
        self._on_change = on_change
        self._map = View([], [])
        self._followed = True  # False until `on_change` has handled the current map
        self._stale = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asking = background.Tasks("topology-ask")
        self.refusal: str | None = None  # what a node said, while none gives a map

    async def start(self) -> None:
        self._task = background.forever("topology", self._keep)

    async def stop(self) -> None:
        await background.end(self._task)
        await self._asking.end()

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first map. Raises StoreDown."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise StoreDown("the cluster does not answer") from None

    def refresh(self) -> None:
        """Read the map again soon: a slot may be elsewhere."""
        self._stale.set()

    def url_of(self, slot: int) -> str | None:
        """The address of the slot's primary, if it has one."""
        claim = self._map.claim(slot)
        return None if claim is None else claim.url

    def urls(self) -> set[str]:
        return {claim.url for claim in self._map.claims}

    async def _keep(self) -> None:
        while True:
            await self._read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.TOPOLOGY_S if self._map.claims else limits.STORE_RETRY_S_MAX):
                    await self._stale.wait()
            if self._stale.is_set():
                await asyncio.sleep(limits.STORE_RETRY_S)  # many calls ask at once, and a failover takes time
            self._stale.clear()

    async def _read(self) -> None:
        """Ask some nodes, and then those that they name, until one has answered. Takes the newest of each claim."""
        asked: set[str] = set()
        views: list[View] = []
        while more := self._next(asked, views):
            asked.update(more)
            views += await self._ask_all(more)
        if views:
            self._take(views, len(asked))

    def _next(self, asked: Collection[str], views: Sequence[View]) -> list[str]:
        """Whom to ask next. Other nodes each time, so that some that are cut off are not always the first."""
        if not views:
            at = self._turn % len(self._known)
            turned = [*self._known[at:], *self._known[:at]]
            self._turn += 1
            return [url for url in turned if url not in asked][: limits.TOPOLOGY_ASKED]
        left = limits.TOPOLOGY_ASKED - len(views)
        named = dict.fromkeys(url for view in views for url in _nodes(view))
        return [url for url in named if url not in asked][: max(0, left)]

    async def _ask_all(self, urls: Sequence[str]) -> list[View]:
        """Ask these nodes at once. When one has answered, the others get a moment: a dead host never answers."""
        tasks = {self._asking.share(self._ask(url)) for url in urls}
        running, views = tasks, list[View]()
        while running and not views:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            views += [view for task in done if (view := task.result()) is not None]
        if running:
            done, running = await asyncio.wait(running, timeout=limits.TOPOLOGY_LATE_S)
            views += [view for task in done if (view := task.result()) is not None]
        for task in running:
            task.cancel()
        return views

    async def _ask(self, url: str) -> View | None:
        """Ask one node for its map, or None when it does not answer."""
        store = Store("topology", url, aside=True)
        await store.start()
        try:
            await store.wait_up(limits.STORE_CONNECT_S)
            async with asyncio.timeout(limits.STORE_CONNECT_S):
                epochs = await _epochs(store)
                slots = cast(list[Any], await store.call("CLUSTER", "SLOTS"))
        except (StoreError, TimeoutError) as error:
            self._note_refusal(store.refusal or (str(error) if isinstance(error, StoreRefused) else None))
            return None
        finally:
            await store.stop()
        own_host = url.removeprefix(self._prefix).rsplit(":", 1)[0]
        claims: list[Claim] = []
        replicas: list[str] = []
        for first, last, *nodes in slots:
            primary, *others = [self._url(at, own_host) for at in nodes]
            claims.append(Claim(first, last, primary, epochs.get(nodes[0][2], 0)))
            replicas += others
        return View(sorted(claims), replicas)

    def _note_refusal(self, why: str | None) -> None:
        """Say once that a node answers but gives no map, unless a map is known."""
        if why is not None and why != self.refusal and not self._map.claims:
            log.error("cluster_refuses", why=why[: limits.LOGGED_CHARS_MAX])
            self.refusal = why

    def _url(self, node: Sequence[Any], own_host: str) -> str:
        host = (node[0] or b"").decode() or own_host  # a node may not know its own address
        return self._prefix + address_of(f"{host}:{node[1]}")

    def _take(self, views: Sequence[View], asked: int) -> None:
        self.refusal = None
        claims = newest(views, self._map, asked)
        if claims and (claims != self._map.claims or not self._followed):
            replicas = list(dict.fromkeys(url for view in views for url in view.replicas))
            where = [claim[:3] for claim in claims] != [claim[:3] for claim in self._map.claims]
            self._map = View(claims, replicas)
            self._known = list(dict.fromkeys([*sorted(self.urls()), *replicas, *self._seeds]))
            if where or not self._followed:
                self._followed = False
                log.info("topology", nodes=len(self.urls()), asked=asked, answered=len(views))
                self._on_change()
                self._followed = True
        self._ready.set()


def _nodes(view: View) -> list[str]:
    return [*dict.fromkeys(claim.url for claim in view.claims), *view.replicas]


async def _epochs(store: Store) -> dict[bytes, int]:
    """The epoch of each node's claims, by its id. Without the right to ask, all are the same. Raises StoreError."""
    try:
        text = cast(bytes, await store.call("CLUSTER", "NODES"))
    except StoreRefused:
        return {}
    rows = (line.split(b" ") for line in text.splitlines())
    return {row[0]: int(row[6]) for row in rows if len(row) > 7}  # id, address, flags, primary, ping, pong, epoch, link
