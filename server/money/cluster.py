"""The wallet on a cluster: one `Wallet` for each primary and its partitions, with the same methods as a single one.

A primary that has lost a slot answers MOVED and does nothing. The new primary opens the slot's partition with the
journal's help, as after any reconnection, and only then takes gifts.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from protocol.refusals import Refused
from server import background, limits
from server.entries import OrderEntry
from server.money.results import Adjusted, Change, Moved, Paid, Receipt, Spend, WalletView, unavailable
from server.money.store import ALL, WalletStore
from server.money.wallet import Wallet
from server.store import keys
from server.store.client import StoreDown
from server.store.cluster import some_up
from server.store.topology import Topology

log = structlog.get_logger()
T = TypeVar("T")

_SLOTS = [keys.slot(tag) for tag in keys.PARTITION_TAGS]


class ClusterWallet:
    """Implements `Money`, like `Wallet`."""

    together = False  # nobody must wait for a store of other people

    def __init__(
        self, url: str, make: Callable[[str], WalletStore], on_change: Callable[[Sequence[Change]], None]
    ) -> None:
        self._make = make
        self._on_change = on_change
        self._topology = Topology(url, self._follow)
        self._wallets: dict[str, Wallet] = {}
        self._tasks = background.Tasks("wallet-nodes")

    # --- sums over the primaries -------------------------------------------------------------------------------
    @property
    def usable(self) -> bool:
        """Whether any primary takes gifts. `refusing` says whose partitions do not."""
        return any(wallet.usable for wallet in self._owners())

    @property
    def why(self) -> str | None:
        """Why a primary takes none, for everybody to read: the first that says so."""
        return next((why for wallet in self._owners() if (why := wallet.why) is not None), None)

    @property
    def up(self) -> bool:
        return any(wallet.up for wallet in self._owners())

    @property
    def refusing(self) -> frozenset[int]:
        """The partitions whose gifts are refused: their primary is away, or does not take gifts."""
        open_somewhere = (p for p, slot in enumerate(_SLOTS) if self._takes(p, slot))
        return ALL.difference(open_somewhere)

    def _takes(self, partition: int, slot: int) -> bool:
        wallet = self._wallets.get(self._topology.url_of(slot) or "")
        return wallet is not None and wallet.has(partition) and partition not in wallet.refusing

    @property
    def queued(self) -> int:
        return sum(wallet.queued for wallet in self._wallets.values())

    @property
    def gifts(self) -> int:
        return sum(wallet.gifts for wallet in self._wallets.values())

    @property
    def batches(self) -> int:
        return sum(wallet.batches for wallet in self._wallets.values())

    @property
    def log_entries(self) -> int:
        return sum(wallet.log_entries for wallet in self._wallets.values())

    @property
    def closed(self) -> set[int]:
        """The partitions that cannot be opened at their primaries."""
        return {partition for wallet in self._owners() for partition in wallet.closed}

    def _owners(self) -> list[Wallet]:
        return [self._wallets[url] for url in self._topology.urls() if url in self._wallets]

    async def start(self) -> None:
        await self._topology.start()

    async def stop(self) -> None:
        await self._topology.stop()
        await self._tasks.wait()
        await asyncio.gather(*(wallet.stop() for wallet in self._wallets.values()))

    async def wait_up(self, timeout_s: float) -> None:
        """Wait until a primary is open, and a moment for the others. Raises StoreDown."""
        await self._topology.wait_ready(timeout_s)
        await self._tasks.wait()
        await some_up([wallet.wait_up for wallet in self._owners()], timeout_s)

    # --- calls to the right primary ----------------------------------------------------------------------------
    async def coins(self, user_id: str) -> int | None:
        try:
            return await self._at(keys.partition_of(user_id)).coins(user_id)
        except (StoreDown, Refused):
            return None

    async def coins_of(self, user_ids: Sequence[str]) -> list[int | None]:
        return await asyncio.gather(*(self.coins(user_id) for user_id in user_ids))

    async def view(self, user_id: str) -> WalletView:
        return await self._route(keys.partition_of(user_id), lambda wallet: wallet.view(user_id))

    async def spend(self, spend: Spend) -> Paid:
        partition = keys.partition_of(spend.viewer)
        return await self._route(partition, lambda wallet: wallet.spend(spend), patience_s=limits.SPEND_WAIT_S)

    async def find(self, user_id: str, gift_id: str) -> Receipt | None:
        return await self._route(keys.partition_of(user_id), lambda wallet: wallet.find(user_id, gift_id))

    async def claim(self, topup_id: str, fingerprint: str) -> bool:
        partition = keys.partition_of(topup_id)  # of an order of anybody, who may be of another partition
        return await self._route(partition, lambda wallet: wallet.claim(topup_id, fingerprint), also_closed=True)

    async def order(self, entry: OrderEntry) -> Adjusted:
        return await self._route(keys.partition_of(entry.viewer), lambda wallet: wallet.order(entry))

    async def last_entry(self, partition: int) -> tuple[int, int]:
        return await self._route(partition, lambda wallet: wallet.last_entry(partition))

    async def _route(
        self,
        partition: int,
        call: Callable[[Wallet], Awaitable[T]],
        *,
        also_closed: bool = False,
        patience_s: float = math.inf,
    ) -> T:
        """Call the partition's primary; when the partition has moved, try its new primary. Raises Refused.

        What is asked by somebody who waits is not tried again after `patience_s`.
        """
        until = asyncio.get_running_loop().time() + patience_s
        for attempt in range(limits.MOVED_TRIES):
            try:
                return await call(self._at(partition, also_closed=also_closed))
            except (Moved, StoreDown):
                self._topology.refresh()
                pause_s = limits.STORE_RETRY_S * (attempt + 1)
                if asyncio.get_running_loop().time() + pause_s > until:
                    break
                await asyncio.sleep(pause_s)
        raise unavailable()

    def _at(self, partition: int, *, also_closed: bool = False) -> Wallet:
        """The wallet of a partition's primary. Raises StoreDown, or Refused when it cannot be opened there."""
        url = self._topology.url_of(_SLOTS[partition])
        wallet = self._wallets.get(url) if url is not None else None
        why = wallet.closed.get(partition) if wallet is not None and wallet.up else None
        if wallet is not None and why is not None and also_closed:
            return wallet
        if why is not None and not why.soon:
            raise unavailable()
        if wallet is None or not wallet.has(partition):
            raise StoreDown(f"partition {partition} has no open primary")
        return wallet

    # --- following moves ---------------------------------------------------------------------------------------
    def _follow(self) -> None:
        """Assign each primary its partitions. A primary that gets more reconnects and opens them."""
        owned: dict[str, set[int]] = {url: set() for url in self._topology.urls()}
        for partition, slot in enumerate(_SLOTS):
            url = self._topology.url_of(slot)
            if url is not None:
                owned[url].add(partition)
        for url, partitions in owned.items():
            if url not in self._wallets:
                store = self._make(url)
                store.partitions = frozenset(partitions)
                self._wallets[url] = Wallet(store, self._on_change, one_slot=True)
                self._tasks.spawn(self._wallets[url].start())
            else:
                self._wallets[url].assign(frozenset(partitions))
        for url in self._wallets.keys() - owned.keys():
            self._wallets[url].assign(frozenset())
        log.info("wallet_partitions", nodes={url: len(partitions) for url, partitions in owned.items()})
