"""What moves as money: orders to the wallet, what came of them, and what is told of it."""

import hashlib
from typing import Protocol

import structlog
from msgspec import Struct

from protocol.refusals import Refusal, Refused
from protocol.session import Cause
from server import limits
from server.entries import OrderEntry

log = structlog.get_logger()


class Spend(Struct, frozen=True, kw_only=True):
    """One gift to be paid. `entry` is the ledger entry's JSON, the animation for the room in it."""

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
    """A gift that is debited, credited and on disk. `first`: surely by this try, so its entry is the ledger's."""

    balance: int
    combo_count: int
    entry_id: str
    duplicate: bool
    first: bool


class Receipt(Struct, frozen=True, kw_only=True):
    """What stands written of a gift that was paid."""

    fingerprint: str
    balance: int
    combo_count: int
    entry_id: str


class SpendLimit(Struct, frozen=True):
    """Coins that a viewer lets oneself spend per UTC day; `next` holds from `next_from_ms` on. None is no limit."""

    user_id: str
    coins_per_day: int | None
    next: int | None
    next_from_ms: int | None


class Adjusted(Struct, frozen=True, kw_only=True):
    """An order from outside the rooms that is in the wallet and on disk. `limit` is what holds after one of a limit."""

    balance: int
    entry_id: str
    duplicate: bool
    limit: SpendLimit | None = None


class Moved(Exception):
    """The partition is not at this primary (any more): nothing was done."""


class TopUpConflict(Exception):
    """The id was used before for another top-up."""


class Change(Struct, frozen=True, kw_only=True):
    """A balance that changed: told to every socket of its user."""

    user_id: str
    coins: int
    cause: Cause
    ref: str
    entry: str


class WalletView(Struct, frozen=True):
    """What a wallet holds."""

    user_id: str
    coins: int
    status: str


def fingerprint(*parts: object) -> str:
    """A short hash of a payload: the same id with another one is a conflict."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=9).hexdigest()


def receipt_of(text: bytes) -> Receipt:
    """A gift's receipt as wallet_spend.lua writes it."""
    fp, balance, combo_count, entry_id = text.decode().split(" ")
    return Receipt(fingerprint=fp, balance=int(balance), combo_count=int(combo_count), entry_id=entry_id)


def unavailable() -> Refused:
    """Gifts cannot be taken, or the outcome is not known yet: the same id later gives it."""
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
    """What wallet_adjust.lua or wallet_limit.lua did. Raises TopUpConflict, Refused."""
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
        case b"insufficient":
            raise Refused(Refusal.INSUFFICIENT_COINS, need=-delta, have=int(outcome[1]))
        case b"stale_epoch":
            raise unavailable()
        case b"partition_frozen" | b"too_rich" | b"bad_amount":
            log.error("adjust_refused", status=status, user=entry.viewer)
            raise unavailable()
        case _:
            raise AssertionError(outcome)


def _spend_limit(user_id: str, held: list[bytes]) -> SpendLimit:
    now, later, day = (int(text or 0) for text in held)
    return SpendLimit(user_id, now or None, later or None, day * limits.DAY_MS if day else None)


class Money(Protocol):
    """The wallet's verbs: on one store (`wallet`) or on a cluster (`wallet_cluster`). All may raise Refused."""

    @property
    def gifts(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def up(self) -> bool: ...
    @property
    def usable(self) -> bool: ...
    @property
    def queued(self) -> int: ...
    @property
    def log_entries(self) -> int: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def wait_up(self, timeout_s: float) -> None: ...
    async def coins(self, user_id: str) -> int | None: ...
    async def view(self, user_id: str) -> WalletView: ...
    async def spend(self, spend: Spend) -> Paid: ...
    async def find(self, user_id: str, gift_id: str) -> Receipt | None: ...
    async def order(self, entry: OrderEntry) -> Adjusted: ...
    async def last_entry(self, partition: int) -> tuple[int, int]: ...
