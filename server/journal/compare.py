"""The audit's store side: reads a partition of the wallet store in one step, and compares it with the journal."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from msgspec import Struct

from server.clock import Clock
from server.entries import TOTALS
from server.journal.asof import CREATOR, VIEWER, Expected, Spent, Wallet
from server.journal.books import LogEntry, Unreadable, parse
from server.journal.findings import Wrong
from server.journal.log import Position, after
from server.journal.receipts import is_of_gift
from server.store import keys, receipts, scripts
from server.store.client import Store, StoreRefused, of_one_key
from server.store.cluster import ClusterStore

LOOK = scripts.load("compare_look")
SCRIPTS = (LOOK,)
_META = ("epoch", "opened", "frozen", "forgot", "strings", *(total.counter for total in TOTALS))
NOTHING: Position = (0, -1)  # before the first log id


class Held(NamedTuple):
    """A wallet in the store, as text; None is a missing field."""

    coins: str | None
    status: str | None
    limit: str | None
    next_limit: str | None
    next_day: str | None
    day: str | None
    spent: str | None
    status_ms: str | None  # when the order was recorded that set the status, and the limit
    limit_ms: str | None

    @property
    def exists(self) -> bool:
        return any(field is not None for field in self)


class Stored(Struct):
    """A partition of the store at one moment."""

    at: Position  # its last log id; NOTHING when it has no log
    meta: dict[str, str | None]
    wallets: dict[str, Held]  # by user
    counters: dict[str, str | None]  # by creator
    odd: list[str]  # accounts whose keys have another type

    @property
    def frozen(self) -> bool:
        return self.meta["frozen"] is not None


class StoreSide:
    """The wallet store as the audit reads it. Raises StoreError."""

    def __init__(self, wallet: Store | ClusterStore, clock: Clock) -> None:
        self.wallet = wallet
        self._clock = clock

    async def read(self, partition: int, accounts: Sequence[str]) -> Stored:
        """Read the last log id, the meta hash and these accounts in one step. Raises WrongType."""
        look = LOOK(
            log=keys.log(partition),
            meta=keys.wallet_meta(partition),
            fields=" ".join(_META),
            each=[_key_of(partition, account) for account in accounts],
        )
        with _readable():
            reply = cast(list[Any], await self.wallet.run(*look))
        last, meta, *each = reply
        stored = Stored(position(last.decode()), dict(zip(_META, map(_text, meta), strict=True)), {}, {}, [])
        for account, fields in zip(accounts, each, strict=True):
            if not fields:
                stored.odd.append(account)
            elif account.startswith(VIEWER):
                stored.wallets[account.removeprefix(VIEWER)] = Held(*map(_text, fields))
            else:
                stored.counters[account.removeprefix(CREATOR)] = _text(fields[0])
        return stored

    async def receipts(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """These receipts, those that are there. A key of another type counts as an empty one."""
        found = await self._ask(_in_hashes(wanted))
        return found | await self._ask([(receipts.as_string(*each), [each]) for each in wanted if each not in found])

    async def _ask(self, asked: Sequence["Asked"]) -> dict["Receipt", str]:
        replies = await asyncio.gather(*(self.wallet.send(*each) for each, _ in asked), return_exceptions=True)
        found: dict[Receipt, str] = {}
        for (_, of), reply in zip(asked, replies, strict=True):
            if isinstance(reply, StoreRefused):
                found |= dict.fromkeys(of, "")
            elif isinstance(reply, BaseException):
                raise reply
            else:
                texts = reply if isinstance(reply, list) else [reply]
                pairs = zip(of, texts, strict=True)
                found |= {each: text.decode(errors="replace") for each, text in pairs if text is not None}
        return found

    async def entries(self, partition: int, start: Position, count: int) -> list[LogEntry | Unreadable]:
        """Entries of the log after a position. Raises WrongType."""
        begin = "-" if start == NOTHING else after(start)
        with _readable():
            rows = await self.wallet.call("XRANGE", keys.log(partition), begin, "+", "COUNT", count)
        return [parse(row) for row in cast(list[Any], rows)]

    async def newest(self, partition: int, count: int) -> list[LogEntry | Unreadable]:
        """The newest entries of the log, in order. Raises WrongType."""
        with _readable():
            rows = await self.wallet.call("XREVRANGE", keys.log(partition), "+", "-", "COUNT", count)
        return [parse(row) for row in reversed(cast(list[Any], rows))]

    async def last_and_receipt(self, partition: int, user_id: str, operation: str) -> tuple[Position, str | None]:
        """The last log id, and a receipt as it was before that was read."""
        held = await self.receipts([(user_id, operation)])
        stored = await self.read(partition, [])
        return stored.at, held.get((user_id, operation))

    async def is_frozen(self, partition: int) -> bool:
        """Whether the store says that a partition is frozen. Raises WrongType."""
        with _readable():
            return await self.wallet.call("HGET", keys.wallet_meta(partition), "frozen") is not None

    def age_ms(self, entry: LogEntry | Unreadable) -> int:
        """The age of an entry; 0 if its time cannot be read."""
        return max(0, self._clock.now_ms() - entry.at_ms) if isinstance(entry, LogEntry) else 0


class WrongType(Exception):
    """The partition's log or meta hash has another type."""


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Turn the store's refusal of one key into WrongType."""
    try:
        yield
    except StoreRefused as refused:
        if of_one_key(refused):
            raise WrongType(str(refused)) from None
        raise


Receipt: TypeAlias = tuple[str, str]  # by user and operation
Asked: TypeAlias = tuple[receipts.Command, list[Receipt]]  # a command, and what it asks for


def _in_hashes(wanted: Sequence[Receipt]) -> list[Asked]:
    """The commands that read gifts' receipts from their hashes. Those of ten minutes of a partition share one."""
    found: dict[str, tuple[list[str], list[Receipt]]] = {}
    for each in wanted:
        place = receipts.in_hash(*each) if is_of_gift(each[1]) else None
        if place is not None:
            fields, of = found.setdefault(place[0], ([], []))
            fields.append(place[1])
            of.append(each)
    return [(("HMGET", key, *fields), of) for key, (fields, of) in found.items()]


def _key_of(partition: int, account: str) -> dict[str, str]:
    if account.startswith(VIEWER):
        return {"account": keys.wallet(account.removeprefix(VIEWER)), "kind": "wallet"}
    return {"account": keys.credit(partition, account.removeprefix(CREATOR)), "kind": "counter"}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def position(log_id: str) -> Position:
    """A log id as two numbers; NOTHING for an empty one."""
    epoch, _, n = log_id.partition("-")
    return (int(epoch), int(n)) if log_id else NOTHING


# --- comparing -------------------------------------------------------------------------------------------------------
def totals_differ(partition: int, expected: Expected, stored: Stored) -> Iterator[Wrong]:
    """Compare the partition's totals, and its epoch with the log."""
    for total in TOTALS:
        ours, theirs = str(getattr(expected.totals, total.sum)), stored.meta[total.counter] or "0"
        if ours != theirs:
            yield Wrong(partition, total.label, f"the journal has {ours}, the store {theirs}")
    epoch, opened = stored.meta["epoch"], stored.meta["opened"]
    if stored.at != NOTHING and epoch != str(stored.at[0]):
        yield Wrong(partition, "epoch", f"the log is at {stored.at[0]}, the store says {epoch}")
    if epoch is not None and not opened:
        yield Wrong(partition, "opened", "the store does not say on which process it was opened")


def accounts_differ(partition: int, expected: Expected, stored: Stored) -> Iterator[Wrong]:
    """Compare each wallet and counter that was read."""
    for account in stored.odd:
        yield Wrong(partition, account, "the store has a key of another type")
    for user_id, held in stored.wallets.items():
        wallet = expected.wallets.get(user_id)
        if wallet is None and not held.exists:
            continue
        for what in _unknown(held) if wallet is None else _wallet_differs(wallet, held):
            yield Wrong(partition, VIEWER + user_id, what)
    for creator, diamonds in stored.counters.items():
        ours = expected.counters.get(creator)
        if ours is None and diamonds is not None:
            yield Wrong(partition, CREATOR + creator, f"the store has {diamonds}, the journal no such counter")
        elif ours is not None and str(ours) != (diamonds or "0"):
            yield Wrong(partition, CREATOR + creator, f"the journal has {ours}, the store {diamonds or 'none'}")


def _unknown(held: Held) -> Iterator[str]:
    yield f"the store has {held.coins or 0}, the journal no such wallet"


def _wallet_differs(wallet: Wallet, held: Held) -> Iterator[str]:
    if str(wallet.coins) != (held.coins or "0"):
        yield f"the journal has {wallet.coins}, the store {held.coins or ('0' if held.exists else 'no such wallet')}"
    if wallet.status != (held.status or "ok"):
        yield f"its entries say that it is {wallet.status}, the store {held.status or 'ok'}"
    ordered = str(wallet.status_ms), str(wallet.limit_ms)
    if ordered != (held.status_ms or "0", held.limit_ms or "0"):
        yield f"its entries say that its orders are of {ordered}, the store {(held.status_ms, held.limit_ms)}"
    ours = [wallet.limit or None, wallet.next_limit, wallet.next_day]
    theirs = [None if held.limit == "0" else held.limit, held.next_limit, held.next_day]
    if [None if each is None else str(each) for each in ours] != theirs:
        yield f"its entries say that its limit is {ours}, the store {theirs}"


def spending_differs(partition: int, user_id: str, spent: Spent | None, held: Held) -> Iterator[Wrong]:
    """Compare what a wallet has spent on the day of its last gift."""
    ours = ("0", "0") if spent is None else (str(spent.day), str(spent.coins))
    if ours != (held.day or "0", held.spent or "0"):
        what = f"its entries say that it spent {ours[1]} on day {ours[0]}, the store {held.spent} on day {held.day}"
        yield Wrong(partition, VIEWER + user_id, what)
