"""The wallet: one step takes coins from the viewer and gives diamonds to the creator, or does nothing.

Gifts that arrive while calls are in flight go together in the next call: one script call and one fsync for all.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog

from protocol.refusals import Refused
from protocol.session import Cause
from server import background, limits
from server.entries import KIND_OF, AdjustEntry, Kind, LimitEntry, OrderEntry, TopUpEntry
from server.journal.refill import CannotOpen
from server.money import claims
from server.money.results import (
    Adjusted,
    Change,
    Moved,
    Paid,
    Receipt,
    Spend,
    WalletView,
    adjusted_of,
    change_of,
    paid_of,
    receipt_of,
    refusal_of,
    unavailable,
)
from server.money.store import NotConfirmed, NotReplicated, WalletStore
from server.money.waiting import Waiting, fail, fail_closed, retrieve, spend_arguments
from server.store import keys, receipts, scripts
from server.store.client import StoreDown, StoreError, StoreRefused
from server.store.cluster import not_here
from server.store.scripts import Call

log = structlog.get_logger()

SPEND = scripts.load("wallet_spend")
ADJUST = scripts.load("wallet_adjust")
LIMIT = scripts.load("wallet_limit")
SCRIPTS = (SPEND, ADJUST, LIMIT, *claims.SCRIPTS)


class Wallet:
    """The only writer of money on this node. It calls `on_change` with each balance that it has moved."""

    together = True  # one store answers for all people

    def __init__(
        self, store: WalletStore, on_change: Callable[[Sequence[Change]], None], *, one_slot: bool = False
    ) -> None:
        self._store = store
        self._one_slot = one_slot  # on a cluster all keys of a call must be in one slot
        self._on_change = on_change
        self._queue: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._calls = background.Tasks("wallet-call")  # in flight; the one connection runs them in order
        self._sent: set[tuple[str, str]] = set()  # viewer and id of each gift in those calls
        self._stopping = False
        self.batches = 0
        self.gifts = 0

    @property
    def up(self) -> bool:
        return self._store.up

    @property
    def usable(self) -> bool:
        """Whether the wallet takes gifts."""
        return self._store.usable

    @property
    def why(self) -> str | None:
        """Why it takes none, for everybody to read."""
        return self._store.why

    @property
    def refusing(self) -> frozenset[int]:
        return self._store.refusing

    @property
    def log_entries(self) -> int:
        return self._store.log_entries

    @property
    def closed(self) -> Mapping[int, CannotOpen]:
        """The partitions that cannot be opened here, and why."""
        return self._store.closed

    def has(self, partition: int) -> bool:
        """Whether the partition is open at this primary."""
        return self._store.up and partition in self._store.epochs and partition in self._store.partitions

    def assign(self, partitions: frozenset[int]) -> None:
        """Set this primary's partitions. New ones are opened before anybody may use them."""
        added = partitions - self._store.partitions
        self._store.partitions = partitions
        if added:
            self._store.reopen()

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def start(self) -> None:
        await self._store.start()
        self._loop = asyncio.get_running_loop()  # kept: until Python 3.12 each lookup makes a system call, getpid
        self._task = background.forever("wallet-commit", self._commit_groups)

    async def stop(self) -> None:
        """Finish the queued gifts, then close the store."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.DRAIN_S_MAX):
                    await asyncio.shield(self._task)
            await background.end(self._task)
            await self._calls.end()
        await self._store.stop()

    async def wait_up(self, timeout_s: float) -> None:
        """Wait until the wallet is up, and partitions that are being filled. Raises StoreDown."""
        await self._store.wait_open(timeout_s)

    def _epoch(self, partition: int) -> str:
        """The partition's epoch. Raises Moved or Refused when the partition is not open here."""
        if partition not in self._store.epochs:
            self._check_open(partition)
            raise self._elsewhere()
        return self._store.epochs[partition]

    def _check_open(self, partition: int) -> None:
        """Raise Refused for a partition that cannot be opened: what it holds may be of long ago."""
        if partition in self._store.closed:
            raise unavailable()

    def _elsewhere(self, error: StoreError | None = None) -> Exception:
        """On a cluster the caller tries the new primary. A single store has no other: the sender tries again later."""
        return Moved() if self._one_slot and (error is None or not_here(error)) else unavailable()

    # --- reading -----------------------------------------------------------------------------------------------
    async def coins(self, user_id: str) -> int | None:
        """A balance, or None while the store is down or the partition closed."""
        return (await self.coins_of([user_id]))[0]

    async def coins_of(self, user_ids: Sequence[str]) -> list[int | None]:
        asked = [self._ask_coins(user_id) for user_id in user_ids]  # in one write
        return [None if each is None else await _coins_in(each) for each in asked]

    def _ask_coins(self, user_id: str) -> "asyncio.Future[Any] | None":
        with contextlib.suppress(StoreError):
            if keys.partition_of(user_id) not in self._store.closed:
                return self._store.ask("HGET", keys.wallet(user_id), "c")
        return None

    async def view(self, user_id: str) -> WalletView:
        """A wallet as it is now. Raises Refused wallet_unavailable."""
        self._check_open(keys.partition_of(user_id))
        try:
            coins, status = await self._store.read("HMGET", keys.wallet(user_id), "c", "st")
        except StoreError as error:
            raise self._elsewhere(error) from None
        return WalletView(user_id, int(coins or 0), (status or b"ok").decode())

    # --- spending ----------------------------------------------------------------------------------------------
    async def spend(self, spend: Spend) -> Paid:
        """Pay one gift. A cancelled caller stops waiting, but the gift is still paid. Raises Refused."""
        if self._stopping or not self._store.usable or len(self._queue) >= limits.SPEND_QUEUE_MAX:
            raise unavailable()
        self._check_open(keys.partition_of(spend.viewer))
        future: asyncio.Future[Paid] = self._loop.create_future()
        future.add_done_callback(retrieve)
        self._queue.append(Waiting(spend, future))
        self._wake.set()
        return await future  # bounded: the store client drops a silent connection

    async def find(self, user_id: str, gift_id: str) -> Receipt | None:
        """The receipt of a paid gift, as durable as the gift. Raises Refused wallet_unavailable."""
        self._check_open(keys.partition_of(user_id))
        try:
            asked = receipts.asking(user_id, gift_id)
            known = (user_id, gift_id) in self._sent  # most were never paid, and a confirmation costs a WAIT
            if not known and receipts.of([await self._store.read(*command) for command in asked]) is None:
                return None
            text = receipts.of(await self._store.read_confirmed(*asked))
        except StoreError as error:
            raise self._elsewhere(error) from None
        return None if text is None else receipt_of(text)

    async def _commit_groups(self) -> None:
        """Keep a few calls in flight. Gifts that arrive meanwhile share the next call, so there is no timer."""
        while True:
            if len(self._calls.running) >= limits.SPEND_CALLS_MAX:
                await asyncio.wait(self._calls.running, return_when=asyncio.FIRST_COMPLETED)
                continue
            if not self._queue:
                if self._stopping:
                    await self._calls.wait()
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            size = min(len(self._queue), limits.SPEND_BATCH_MAX)
            batch = [self._queue.popleft() for _ in range(size)]
            self._calls.spawn(self._commit_or_fail(batch))

    async def _commit_or_fail(self, batch: list[Waiting]) -> None:
        """Commit, and answer every sender even when that raises."""
        sent = {(each.spend.viewer, each.spend.gift_id) for each in batch}
        self._sent |= sent
        try:
            await self._commit(batch)
        except Exception as error:
            background.failed("wallet-call", error, gifts=len(batch))
        finally:
            self._sent -= sent
            fail([waiting for waiting in batch if not waiting.future.done()])

    async def _commit(self, batch: list[Waiting]) -> None:
        if not self._one_slot:
            if len(self._store.epochs) < len(self._store.partitions):
                batch = fail_closed(batch, self._store.epochs)
            if batch:
                await self._commit_together(batch)
            return
        by_partition: dict[int, list[Waiting]] = {}
        for waiting in batch:
            by_partition.setdefault(keys.partition_of(waiting.spend.viewer), []).append(waiting)
        await asyncio.gather(*(self._commit_together(part) for part in by_partition.values()))

    async def _commit_together(self, batch: list[Waiting]) -> None:
        try:
            outcomes = await self._call(batch)
        except (StoreDown, NotReplicated, NotConfirmed):
            fail(batch)
            return
        except (Moved, Refused) as elsewhere:
            fail(batch, elsewhere)
            return
        except StoreRefused as refused:
            await self._commit_refused(batch, refused)
            return
        except StoreError:
            await self._resolve(batch)
            return
        self._settle(batch, outcomes)

    async def _call(self, batch: list[Waiting]) -> list[list[bytes]]:
        names, args = spend_arguments(batch, self._epoch, self._store.site_limit)
        return cast(list[list[bytes]], await self._store.write(SPEND, names, args))

    async def _commit_refused(self, batch: list[Waiting], refused: StoreRefused) -> None:
        """The script raised an error. One corrupt key must not stop the other gifts, so send each gift alone."""
        if not_here(refused):
            fail(batch, self._elsewhere())
            return
        if len(batch) == 1 or not str(refused).startswith(("WRONGTYPE", "ERR")):
            log.error("wallet_refused", error=str(refused)[:200], gifts=len(batch))
            fail(batch)
            return
        for waiting in batch:
            await self._commit_together([waiting])

    async def _resolve(self, batch: list[Waiting]) -> None:
        """The answer of a call was lost: look up each gift's receipt. Nothing is sent again."""
        try:
            await self._store.wait_up(limits.SPEND_WAIT_S)
            batch = fail_closed(batch, self._store.epochs)
            asked = [command for w in batch for command in receipts.asking(w.spend.viewer, w.spend.gift_id)]
            replies = await self._store.read_confirmed(*asked)
        except StoreError:
            fail(batch)
            return
        for waiting, each in zip(batch, zip(replies[::2], replies[1::2], strict=True), strict=True):
            receipt = receipts.of(each)
            if receipt is None:
                fail([waiting])
                continue
            fingerprint, *outcome = receipt.split(b" ")
            same = fingerprint.decode() == waiting.spend.fingerprint
            self._settle([waiting], [[b"duplicate", *outcome] if same else [b"conflict"]], found=True)

    def _settle(self, batch: list[Waiting], outcomes: list[list[bytes]], *, found: bool = False) -> None:
        """Answer the senders. `found`: the call's answer was lost, and this outcome is the receipt.

        A receipt does not say whose call wrote it: another node may have sent the same id meanwhile. So it is a
        duplicate, but the user's sockets get the balance: perhaps they have it from nobody else.
        """
        self.batches += 1
        changes, stale = [], False
        for waiting, outcome in zip(batch, outcomes, strict=True):
            status = outcome[0]
            if status in (b"ok", b"duplicate"):
                paid = paid_of(outcome)
                if paid.first or found:
                    self.gifts += 1
                    changes.append(change_of(waiting.spend, paid))
                if not waiting.future.done():
                    waiting.future.set_result(paid)
                continue
            stale = stale or status == b"stale_epoch"
            if not waiting.future.done():
                waiting.future.set_exception(refusal_of(status, outcome, waiting.spend))
        if stale:  # first: whatever `on_change` raises, this node must not go on in an old epoch
            self._store.reopen()
        if changes:
            self._on_change(changes)

    # --- orders of the host platform ---------------------------------------------------------------------------
    async def claim(self, topup_id: str, fingerprint: str) -> bool:
        """Claim a top-up's id for one order. False if another has it. Raises Refused wallet_unavailable."""
        try:
            return await claims.take(self._store, topup_id, fingerprint)
        except StoreError as error:
            raise self._elsewhere(error) from None

    async def order(self, entry: OrderEntry) -> Adjusted:
        """Carry out an order once per kind and id.

        Raises TopUpConflict when another order has used the id, Overtaken when a newer one decided about the wallet's
        status or limit, Refused wallet_unavailable or insufficient_coins.
        """
        if not self._store.usable:
            raise unavailable()
        kind = KIND_OF[type(entry)]
        delta = 0 if isinstance(entry, LimitEntry) else (kind.coins or 0) * entry.coins
        call = self._limit_call(entry) if isinstance(entry, LimitEntry) else self._adjust_call(entry, kind, delta)
        try:
            outcome = cast(list[bytes], await self._store.write(*call))
        except StoreError as error:
            raise self._elsewhere(error) from None
        if outcome[0] == b"stale_epoch":
            self._store.reopen()
        done = adjusted_of(outcome, entry, delta)
        if delta and kind.cause is not None:
            await self._announce(entry, kind.cause, done)
        return done

    def _adjust_call(self, entry: AdjustEntry | TopUpEntry, kind: Kind, delta: int) -> Call:
        user_id, partition = entry.viewer, keys.partition_of(entry.viewer)
        return ADJUST(
            wallet=keys.wallet(user_id),
            receipt=keys.receipt(user_id, kind.operation(entry.id)),
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            epoch=self._epoch(partition),
            fingerprint=entry.fp,
            delta=delta,
            status=kind.status,
            ordered_ms=0 if isinstance(entry, TopUpEntry) else entry.ordered_ms,
            total=kind.total.counter if kind.total else "",
            balance_max=limits.BALANCE_MAX,
            entry=msgspec.json.encode(entry),
        )

    def _limit_call(self, entry: LimitEntry) -> Call:
        user_id, partition = entry.viewer, keys.partition_of(entry.viewer)
        return LIMIT(
            wallet=keys.wallet(user_id),
            receipt=keys.receipt(user_id, KIND_OF[LimitEntry].operation(entry.id)),
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            epoch=self._epoch(partition),
            fingerprint=entry.fp,
            coins=entry.coins_per_day,
            ordered_ms=entry.ordered_ms,
            entry=msgspec.json.encode(entry),
        )

    async def _announce(self, entry: OrderEntry, cause: Cause, done: Adjusted) -> None:
        """Send the balance to the user's sockets. After a duplicate, too: the first announcement may have been lost."""
        coins = await self.coins(entry.viewer) if done.duplicate else done.balance
        if coins is not None:
            change = Change(user_id=entry.viewer, coins=coins, cause=cause, ref=entry.id, entry=done.entry_id)
            self._on_change([change])

    async def last_entry(self, partition: int) -> tuple[int, int]:
        """The log id of a partition's last entry. Raises Refused wallet_unavailable."""
        self._check_open(partition)
        try:
            rows = await self._store.read("XREVRANGE", keys.log(partition), "+", "-", "COUNT", 1)
        except StoreError as error:
            raise self._elsewhere(error) from None
        epoch, n = rows[0][0].split(b"-") if rows else (0, -1)
        return int(epoch), int(n)


async def _coins_in(reply: "asyncio.Future[Any]") -> int | None:
    with contextlib.suppress(StoreError):
        return int(await reply or 0)
    return None
