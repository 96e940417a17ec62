"""The wallet store: opens its partitions, checks its settings, and makes each write as durable as promised.

It has two connections. The money connection runs calls in order and confirms each batch before it counts. The other
reads balances, so that a reader never waits for a replica.
"""

import asyncio
import contextlib
import re
import shutil
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import structlog
from sqlalchemy.exc import SQLAlchemyError

from server import background, limits
from server.journal.opening import Opened, Opening
from server.journal.refill import CannotOpen
from server.money.fence import UNFENCED, Fence
from server.store import guard, keys
from server.store.client import Arg, Link, Store, StoreDown, StoreError, StoreRefused, of_one_key
from server.store.cluster import not_here
from server.store.scripts import Script

log = structlog.get_logger()

Durability = Literal["local", "replicated"]
_NO_RIGHT = ("NOPERM", "ACL failure")  # of the call itself, and of a command of its script
_SAID = re.compile(r" \(.*\)")  # what a sentence of the guard quotes, and all between two quotes
NO_REPLICA = "no replica has confirmed the last gifts"
ALL = frozenset(range(limits.WALLET_PARTITIONS))


class NotReplicated(StoreError):
    """The write is on the primary's disk, but no replica has confirmed it. The outcome is unknown."""


class NotConfirmed(StoreError):
    """The write is in the store, but the journal has not confirmed for some time that this store is the right one."""


class WalletStore:
    """`trouble` says why no money may move now. It is None while money may move.

    `epochs` has the partitions that are open, `closed` those that cannot be opened, and why.
    """

    def __init__(
        self,
        url: str,
        *,
        scripts: Sequence[Script],
        opening: Opening,
        opening_scripts: Sequence[Script],
        fence: Fence,
        durability: Durability = "local",
        guarded: bool = True,
        log_entries_max: int = limits.LOG_ENTRIES_MAX,
        site_limit: int = 0,
        folder: Path | None = None,
        for_rooms: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._scripts = (*scripts, *opening_scripts)
        self._opening = opening
        self.fence = fence
        self._durability = durability
        self._guard = guard.Guard(self._scripts, replicated=durability == "replicated") if guarded else None
        self._log_entries_max = log_entries_max
        self._folder = folder
        self._for_rooms = for_rooms  # the run ids of the room store's processes
        self.site_limit = site_limit  # coins per viewer and UTC day; 0 means no limit
        self._money = Store("wallet", url, scripts=self._scripts, on_up=self._open)
        self._reads = Store("wallet-reads", url, aside=True)
        self._task: asyncio.Task[None] | None = None
        self._fence_task: asyncio.Task[None] | None = None
        self._opening_task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()  # since the last try to open closed partitions
        self._tried = asyncio.Event()  # to open closed partitions
        self._opened = Opened()
        self._log_full = False
        self._held = True
        self._trouble: str | None = None
        self.partitions = ALL  # this primary's
        self.epochs = self._opened.epochs
        self.log_entries = 0

    @property
    def trouble(self) -> str | None:
        """Why no money may move."""
        return self._trouble or self._money.refusal

    @property
    def why(self) -> str | None:
        """Why no money may move, in words for everybody: what the store itself says may name users and addresses."""
        if self._trouble is not None:
            return _SAID.sub("", self._trouble)
        if self.fence.shared:
            return UNFENCED
        if not self.up:
            return "the wallet store does not answer" if self._money.refusal is None else "the wallet store refuses us"
        if self._log_full:
            return "too many entries wait for the journal"
        return None if self.fence.holds else "SQL does not confirm the wallet store"

    @property
    def usable(self) -> bool:
        """Whether money may move, at least in some partitions."""
        some_open = bool(self.epochs) or not self.closed
        return self._money.up and self._trouble is None and not self._log_full and self.fence.holds and some_open

    @property
    def closed(self) -> dict[int, CannotOpen]:
        """Why partitions cannot be opened on this connection. The others go on."""
        return self._opened.closed

    @property
    def up(self) -> bool:
        return self._money.up

    async def start(self) -> None:
        await self._money.start()
        await self._reads.start()
        self._task = background.forever("wallet-guard", self._keep_guard)
        self._fence_task = background.forever("wallet-fence", self._keep_fence)
        self._opening_task = background.forever("wallet-opening", self._keep_opening)

    async def stop(self) -> None:
        await background.end(self._task)
        await background.end(self._fence_task)
        await background.end(self._opening_task)
        await self._money.stop()
        await self._reads.stop()

    @property
    def refusing(self) -> frozenset[int]:
        """The partitions whose money may not move now."""
        return self.partitions - self.epochs.keys() if self.usable else self.partitions

    async def wait_up(self, timeout_s: float) -> None:
        """Wait until the store is open, or says why it may not be: a node then goes on without gifts.

        Raises StoreDown.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            left_s = deadline_s - asyncio.get_running_loop().time()
            try:
                return await self._money.wait_up(min(limits.LOG_LOOK_S, left_s))
            except StoreDown:
                if self.trouble is not None:
                    return None
                if left_s <= limits.LOG_LOOK_S:
                    raise

    async def wait_open(self, timeout_s: float) -> None:
        """Wait also for partitions that are being filled, as long as there is time. Raises StoreDown."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        await self.wait_up(timeout_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while any(why.soon for why in self.closed.values()):
                    self._tried.clear()
                    await self._tried.wait()

    async def read(self, *args: Arg) -> Any:
        """Run a command that only reads. Raises StoreError."""
        return await self._reads.call(*args)

    def ask(self, *args: Arg) -> asyncio.Future[Any]:
        """Send a command that only reads. Raises StoreError."""
        return self._reads.send(*args)

    async def write(self, script: Script, names: Sequence[str], args: Sequence[Arg]) -> Any:
        """Run a money script and wait until its outcome is as durable as promised. Raises StoreError."""
        try:
            outcome = await self._money.run(script, names, args)
        except StoreRefused as refused:
            if any(each in str(refused) for each in _NO_RIGHT):
                self.reopen()  # a right was taken away while we ran: the guard says which one, before the next gift
            raise
        await self._confirm()
        return outcome

    async def read_confirmed(self, *commands: Sequence[Arg]) -> list[Any]:
        """Read on the money connection, after all earlier writes, and as durably as a write. Raises StoreError."""
        replies = await asyncio.gather(*(self._money.send(*command) for command in commands))
        await self._confirm()
        return replies

    async def _confirm(self) -> None:
        """Wait until the call before this one is durable, in the store that counts. Raises StoreError.

        `local`: the store answers after the fsync, so there is nothing to do. `replicated`: a replica must confirm.
        """
        if self._durability == "replicated":
            await self._replicate()
        if not self.fence.holds:  # last: until here the store may have been replaced
            raise NotConfirmed("the journal has not confirmed this store")

    async def _replicate(self) -> None:
        write, wait = guard.replicating(self._some_meta())
        self._money.send(*write).add_done_callback(_retrieve)
        if await self._money.call(*wait) < 1:
            if self._guard is not None:
                self._say(NO_REPLICA)  # what comes now is refused before it is debited, until the guard sees a replica
            raise NotReplicated("no replica confirmed")

    def _some_meta(self) -> str:
        """A hash that can be written: of an open partition, if there is one."""
        return keys.wallet_meta(min(self.epochs or self.partitions, default=0))

    # --- opening and guarding ----------------------------------------------------------------------------------
    async def _open(self, link: Link) -> None:
        """Check the settings and open the partitions on each new connection, before anybody may use it."""
        found = await self._look(link)
        self._say(found.trouble)
        if found.wrong:
            raise StoreDown(found.trouble)
        partitions = self.partitions
        opened = await self._opening.open(link, self._money.identity, partitions, self.fence)
        if self.partitions != partitions:
            raise StoreDown("its partitions changed while they were opened")
        self._opened, self.epochs = opened, opened.epochs
        self._connected.set()
        if self._reads.link is not None and self._reads.identity != self._money.identity:
            self._reads.link.abort()  # it leads to another store than the money, perhaps to a former primary

    async def _keep_opening(self) -> None:
        """Try closed partitions again and again, on the same connection: the others lose nothing by it."""
        while True:
            await self._try("wallet-opening", self.open_closed())
            self._tried.set()
            soon = any(why.soon for why in self.closed.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.REFILL_LOOK_S if soon else limits.OPEN_AGAIN_S):
                    await self._connected.wait()
            if self._connected.is_set():
                self._connected.clear()
                await self._try("wallet-opening", self._money.wait_up(limits.STORE_CONNECT_S))

    async def open_closed(self) -> None:
        """Try to open the partitions that are closed. Raises StoreError."""
        link, opened = self._money.link, self._opened
        for partition in opened.closed.keys() - self.partitions:
            del opened.closed[partition]
        if link is None or not opened.closed or not self.fence.holds:
            return
        unknown = opened.closed.keys() - opened.names.keys()
        if unknown and await self._opening.readable(link, unknown):
            self.reopen()  # the fence has not seen what they record
            return
        await self._opening.again(link, opened, tuple(opened.closed))

    async def _look(self, link: Link) -> guard.Found:
        if self._guard is None:
            return guard.Found([])
        meta = self._some_meta() if self.partitions else None
        found = await self._guard.look(link, free_bytes=self._disk_left(), meta=meta)
        if self._is_for_rooms():
            found.wrong.append("it is the room store, too; each needs a server of its own")
        return found

    def _is_for_rooms(self) -> bool:
        """Whether this process is the room store, under whatever address."""
        return self._money.identity.partition(":")[0] in self._for_rooms()

    async def _look_again(self) -> None:
        """Look at the store that the money uses now, on its own connection. Raises StoreError."""
        link = self._money.link
        if link is None:
            return
        found = await self._look(link)
        if self._money.link is not link:
            return  # the connection that has replaced it has been looked at
        self._say(found.trouble)
        if not found.primary:
            self.reopen()  # the address may lead to the new primary by now

    def _say(self, trouble: str | None) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble is None and before is not None:
            log.info("wallet_guard_satisfied", trouble=before)
        elif trouble != before:
            log.error("wallet_guard", trouble=trouble)

    def _disk_left(self) -> int | None:
        """Free bytes above the minimum, or None when the store's disk is not on this machine."""
        if self._folder is None:
            return None
        return shutil.disk_usage(self._folder).free - limits.DISK_FREE_BYTES_MIN

    async def _keep_guard(self) -> None:
        """Repeat both checks: settings can change while a store runs, and the log grows while the journal is down."""
        turns = int(limits.GUARD_EVERY_S / limits.LOG_LOOK_S)
        turn = 0
        while True:
            await asyncio.sleep(limits.LOG_LOOK_S)
            turn += 1
            if not self._money.up:
                continue
            if turn % turns == 0 or self._trouble is not None or self._is_for_rooms():
                await self._try("wallet-guard", self._look_again())
            await self._try("wallet-guard", self.look_at_log())

    async def _try(self, name: str, check: Awaitable[None]) -> None:
        """Log a failed check, so that the other one still runs."""
        try:
            await check
        except StoreError as error:
            log.debug("wallet_check_later", check=name, error=str(error))
        except Exception as error:
            background.failed(name, error)

    async def _keep_fence(self) -> None:
        """Have the store confirmed again and again. Connect again when that fails, or when there is more to open."""
        while True:
            await asyncio.sleep(limits.FENCE_LOOK_S)
            if self._money.up:
                await self._try("wallet-guard", self.look_at_fence())

    async def look_at_fence(self) -> None:
        """Have the store confirmed. Raises StoreError."""
        fence = self.fence
        try:
            again = not await fence.confirm() if fence.fenced else await fence.is_missing(self._money)
        except SQLAlchemyError as error:
            again = False
            log.debug("fence_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
        if fence.holds != self._held:
            self._held = fence.holds
            (log.info if fence.holds else log.error)("wallet_fence", holds=fence.holds)
        if again or fence.due:
            self.reopen()

    async def look_at_log(self) -> None:
        """Count the entries that wait in the log for the journal. Above the bound the wallet takes no gifts.

        A partition whose log cannot be read is closed, and the others are counted. Raises StoreError.
        """
        ours = sorted(self.partitions)
        asked = [self._reads.send("XLEN", keys.log(p)) for p in ours]
        entries = 0
        for partition, length in zip(ours, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if not isinstance(length, BaseException):
                entries += cast(int, length)
            elif of_one_key(length):
                if partition not in self.closed:
                    self._opened.close(partition, CannotOpen(f"its log cannot be read: {length}"))
            elif not (isinstance(length, StoreError) and not_here(length)):
                raise length
        self.log_entries = entries
        full = self.log_entries > self._log_entries_max
        if full != self._log_full:
            log.error("wallet_log", full=full, entries=self.log_entries)
        self._log_full = full

    def reopen(self) -> None:
        """Drop the connection, so that the next one opens the partitions: another node has opened a later epoch."""
        if self._money.link is not None:
            self._money.link.abort()


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Ignore the outcome: the WAIT that follows is what counts."""
    if not future.cancelled():
        future.exception()
