"""What goes into the wallet and what comes out: gifts, orders, their outcomes, and changed balances."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog
from msgspec import Struct

from protocol.refusals import Refusal, Refused
from protocol.session import Cause
from server import limits
from server.entries import OrderEntry

log = structlog.get_logger()


class Spend(Struct, frozen=True, kw_only=True):
    """One gift to pay. `entry` is the JSON of its ledger entry, which also holds the event for the room."""

    gift_id: str
    viewer: str
    creator: str
    coins: int
    diamonds: int
    count: int
    combo: str | None
    fingerprint: str
    entry: bytes


class Paid(Struct, frozen=True, kw_only=True):
    """A gift that is debited, credited and on disk. `entry_id` is the log id of its ledger entry.

    `first` means that this very call wrote the entry, so the log holds the `entry` of this `Spend`.
    """

    balance: int
    combo_count: int
    entry_id: str
    duplicate: bool
    first: bool


class Receipt(Struct, frozen=True, kw_only=True):
    """What the store keeps of a paid gift."""

    fingerprint: str
    balance: int
    combo_count: int
    entry_id: str


class SpendLimit(Struct, frozen=True):
    """A viewer's own limit of coins per UTC day; `next` replaces it at `next_from_ms`. None means no limit."""

    user_id: str
    coins_per_day: int | None
    next: int | None
    next_from_ms: int | None


class Adjusted(Struct, frozen=True, kw_only=True):
    """An order from the host platform that is in the wallet and on disk. An order of a limit also gives `limit`."""

    balance: int
    entry_id: str
    duplicate: bool
    limit: SpendLimit | None = None


class Moved(Exception):
    """The partition is not at this primary. Nothing was done."""


class TopUpConflict(Exception):
    """Another order has used this id."""


class Overtaken(Exception):
    """The wallet has an order that was recorded later. Nothing was done."""


class Change(Struct, frozen=True, kw_only=True):
    """A balance that changed. Every socket of the user gets it."""

    user_id: str
    coins: int
    cause: Cause
    ref: str
    entry: str


class WalletView(Struct, frozen=True):
    """A wallet's coins, and whether it is frozen."""

    user_id: str
    coins: int
    status: str


def fingerprint(*parts: object) -> str:
    """A short hash of a request. The same id with another fingerprint is a conflict."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=9).hexdigest()


def receipt_of(text: bytes) -> Receipt:
    """Parse a gift's receipt, as wallet_spend.lua writes it."""
    gift_fingerprint, balance, combo_count, entry_id = text.decode().split(" ")
    return Receipt(fingerprint=gift_fingerprint, balance=int(balance), combo_count=int(combo_count), entry_id=entry_id)


def paid_of(outcome: list[bytes]) -> Paid:
    """Parse what wallet_spend.lua says of a gift that was paid, now or before."""
    return Paid(
        balance=int(outcome[1]),
        combo_count=int(outcome[2]),
        entry_id=outcome[3].decode(),
        duplicate=outcome[0] == b"duplicate",
        first=outcome[0] == b"ok",
    )


def change_of(spend: Spend, paid: Paid) -> Change:
    """What a paid gift has changed of its viewer's wallet."""
    return Change(user_id=spend.viewer, coins=paid.balance, cause=Cause.GIFT, ref=spend.gift_id, entry=paid.entry_id)


def unavailable() -> Refused:
    """The wallet takes no gifts, or the outcome is unknown. Sending the same id again later returns the outcome."""
    return Refused(Refusal.WALLET_UNAVAILABLE, retry_after_ms=limits.SPEND_RETRY_MS)


def refusal_of(status: bytes, outcome: list[bytes], spend: Spend) -> Refused:
    match status:
        case b"insufficient":
            return Refused(Refusal.INSUFFICIENT_COINS, need=spend.coins, have=int(outcome[1]))
        case b"conflict":
            return Refused(Refusal.CONFLICT)
        case b"expired_id":
            return Refused(Refusal.EXPIRED_ID)
        case b"spend_limit":
            return Refused(Refusal.SPEND_LIMIT, resets_at_ms=int(outcome[1]))
        case b"frozen":
            return Refused(Refusal.WALLET_FROZEN)
        case b"stale_epoch" | b"partition_frozen" | b"bad_amount":
            log.error("spend_refused", status=status, gift_id=spend.gift_id)
            return unavailable()
        case _:
            raise AssertionError(outcome)


def adjusted_of(outcome: list[bytes], entry: OrderEntry, delta: int) -> Adjusted:
    """Parse the reply of wallet_adjust.lua or wallet_limit.lua. Raises TopUpConflict, Overtaken, Refused."""
    status = outcome[0]
    match status:
        case b"ok" | b"duplicate":
            balance, entry_id, *limit = outcome[1:]
            return Adjusted(
                balance=int(balance),
                entry_id=entry_id.decode(),
                duplicate=status == b"duplicate",
                limit=_spend_limit(entry.viewer, limit) if limit else None,
            )
        case b"conflict":
            raise TopUpConflict
        case b"overtaken":
            raise Overtaken
        case b"insufficient":
            raise Refused(Refusal.INSUFFICIENT_COINS, need=-delta, have=int(outcome[1]))
        case b"stale_epoch":
            raise unavailable()
        case b"partition_frozen" | b"too_rich" | b"bad_amount":
            log.error("adjust_refused", status=status, user=entry.viewer)
            raise unavailable()
        case _:
            raise AssertionError(outcome)


def _spend_limit(user_id: str, reply: list[bytes]) -> SpendLimit:
    now, later, day = (int(text or 0) for text in reply)
    return SpendLimit(user_id, now or None, later or None, day * limits.DAY_MS if day else None)


class Money(Protocol):
    """The wallet, on one store (`Wallet`) or on a cluster (`ClusterWallet`). Its calls may raise Refused."""

    @property
    def gifts(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def up(self) -> bool: ...
    @property
    def usable(self) -> bool: ...
    @property
    def why(self) -> str | None: ...
    @property
    def refusing(self) -> frozenset[int]: ...
    @property
    def queued(self) -> int: ...
    @property
    def log_entries(self) -> int: ...
    @property
    def closed(self) -> Collection[int]: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def wait_up(self, timeout_s: float) -> None: ...
    async def coins(self, user_id: str) -> int | None: ...
    async def coins_of(self, user_ids: Sequence[str]) -> list[int | None]: ...
    @property
    def together(self) -> bool: ...
    async def view(self, user_id: str) -> WalletView: ...
    async def spend(self, spend: Spend) -> Paid: ...
    async def find(self, user_id: str, gift_id: str) -> Receipt | None: ...
    async def claim(self, topup_id: str, fingerprint: str) -> bool: ...
    async def order(self, entry: OrderEntry) -> Adjusted: ...
    async def last_entry(self, partition: int) -> tuple[int, int]: ...
