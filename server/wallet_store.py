"""The wallet store as the wallet uses it: opened, guarded, and with every write as durable as was promised.

Two connections: one for money, in order, each batch confirmed before it counts; one for reading balances, so that a
reader never waits behind a replica.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import structlog

from server import background, limits
from server.store import guard, keys
from server.store.client import Arg, Link, Store, StoreDown, StoreError
from server.store.scripts import Script

log = structlog.get_logger()

Durability = Literal["local", "replicated"]
Open = Callable[[Link, str, frozenset[int]], Awaitable[dict[int, str]]]
ALL = frozenset(range(limits.WALLET_PARTITIONS))


class NotReplicated(StoreError):
    """The write is on the primary's disk, no replica has said that it has it: the outcome is unknown."""


class WalletStore:
    """`trouble` says why no money may move now; None when it may."""

    def __init__(
        self,
        url: str,
        *,
        scripts: Sequence[Script],
        opening: Open,
        opening_scripts: Sequence[Script],
        durability: Durability = "local",
        guarded: bool = True,
        log_entries_max: int = limits.LOG_ENTRIES_MAX,
        site_limit: int = 0,
        folder: Path | None = None,
    ) -> None:
        self._scripts = (*scripts, *opening_scripts)
        self._opening = opening
        self._durability = durability
        self._guarded = guarded
        self._log_entries_max = log_entries_max
        self._folder = folder
        self.site_limit = site_limit  # coins per viewer and UTC day, 0 for none
        self._money = Store("wallet", url, scripts=self._scripts, on_up=self._open)
        self._reads = Store("wallet-reads", url)
        self._task: asyncio.Task[None] | None = None
        self._log_full = False
        self.trouble: str | None = None
        self.partitions = ALL  # those of this primary
        self.epochs: dict[int, str] = {}
        self.log_entries = 0

    @property
    def usable(self) -> bool:
        """Whether money may move."""
        return self._money.up and self.trouble is None and not self._log_full

    @property
    def up(self) -> bool:
        return self._money.up

    async def start(self) -> None:
        await self._money.start()
        await self._reads.start()
        self._task = background.forever("wallet-guard", self._keep_guard)

    async def stop(self) -> None:
        await background.end(self._task)
        await self._money.stop()
        await self._reads.stop()

    async def wait_up(self, timeout_s: float) -> None:
        await self._money.wait_up(timeout_s)

    async def read(self, *args: Arg) -> Any:
        """A command that only reads. Raises StoreError."""
        return await self._reads.call(*args)

    async def write(self, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a money script and wait until its outcome is as durable as promised. Raises StoreError."""
        outcome = await self._money.run(script, names, args)
        await self._confirm()
        return outcome

    async def read_confirmed(self, *commands: Sequence[Arg]) -> list[Any]:
        """Read on the money connection, behind every write, as durable as a write. Raises StoreError."""
        replies = await asyncio.gather(*(self._money.send(*command) for command in commands))
        await self._confirm()
        return replies

    async def _confirm(self) -> None:
        """`local`: the reply itself came after the fsync. `replicated`: a replica must have said that it has it.

        WAIT speaks of this connection's own writes, so one is made: a batch of duplicates wrote nothing.
        """
        if self._durability == "local":
            return
        some_meta = keys.wallet_meta(min(self.partitions, default=0))
        self._money.send("HINCRBY", some_meta, "confirmed", 1).add_done_callback(_retrieve)
        if await self._money.call("WAIT", 1, limits.REPLICATION_MS) < 1:
            raise NotReplicated("no replica confirmed")

    # --- opening and guarding ----------------------------------------------------------------------------------
    async def _open(self, link: Link) -> None:
        """On each new connection, before anybody may use it: guard first, then the journal's word."""
        await self._guard(link)
        if self.trouble is not None:
            raise StoreDown(self.trouble)
        partitions = self.partitions
        self.epochs = await self._opening(link, self._money.identity, partitions)
        if self.partitions != partitions:
            raise StoreDown("it was given other partitions meanwhile")

    async def _guard(self, store: Store | Link) -> None:
        if not self._guarded:
            return
        found = await guard.troubles(store, self._scripts, self._disk_left())
        trouble = "; ".join(found) or None
        if trouble != self.trouble:
            log.error("wallet_guard", trouble=trouble or "none any more")
        self.trouble = trouble

    def _disk_left(self) -> int | None:
        """Bytes above the least that must be free, where the store's disk is this machine's."""
        if self._folder is None:
            return None
        return shutil.disk_usage(self._folder).free - limits.DISK_FREE_BYTES_MIN

    async def _keep_guard(self) -> None:
        """Settings change while a store runs, and the log grows while the journal is away."""
        turns = int(limits.GUARD_EVERY_S / limits.LOG_LOOK_S)
        turn = 0
        while True:
            await asyncio.sleep(limits.LOG_LOOK_S)
            turn += 1
            if not self._money.up:
                continue
            if turn % turns == 0 or self.trouble is not None:
                await self._tried(self._guard(self._reads))
            await self._tried(self.look_at_log())

    async def _tried(self, look: Awaitable[None]) -> None:
        """One look must not keep the other from its turn."""
        try:
            await look
        except StoreError as error:
            log.debug("wallet_guard_later", error=str(error))
        except Exception as error:
            background.failed("wallet-guard", error)

    async def look_at_log(self) -> None:
        """How much waits in the log for the journal; above the bound gifts wait too."""
        lengths = await asyncio.gather(*(self._reads.send("XLEN", keys.log(p)) for p in sorted(self.partitions)))
        self.log_entries = sum(cast(list[int], lengths))
        full = self.log_entries > self._log_entries_max
        if full != self._log_full:
            log.error("wallet_log", full=full, entries=self.log_entries)
        self._log_full = full

    def reopen(self) -> None:
        """Another node has opened a later epoch: drop the connection and open anew."""
        if self._money.link is not None:
            self._money.link.abort()


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """The call behind it tells whether this one went well."""
    if not future.cancelled():
        future.exception()
