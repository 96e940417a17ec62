"""From ledger entries to rows: each entry is checked, posted double, and chained to the one before."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from server.entries import KINDS, NUMBER_MAX, OPEN, Body, Kind
from server.journal.tables import entries, postings

FIRST_HASH = "0" * 64


class Gap(Exception):
    """The log does not go on where the journal ends: a second drain, or a store that lost or skipped entries."""


class Misfit(Exception):
    """An entry's balance does not follow from the one before: drift, a double application, a changed byte."""


class LogEntry(Struct, frozen=True, gc=False):
    """One entry of a partition's log as the wallet store holds it; `about` is what its body says."""

    epoch: int
    n: int
    at_ms: int
    balance: int | None
    credited: int | None
    combo_count: int
    body: bytes
    text: str  # the body
    about: Body
    kind: Kind | None  # None when it is not known here
    viewer: str  # account names, made once for all that is kept by account
    creator: str


class Positions:
    """Balances of a partition's accounts as the journal has them, moved along as entries are booked."""

    def __init__(self, mark: "Mark") -> None:
        self.mark = mark  # after which they stand
        self.now: dict[str, int] = {}
        self.changed: dict[str, int] = {}

    def expect(self, account: str, by: int, told: int | None) -> None:
        """Check that an entry's own balance is the one that follows. Raises Misfit."""
        before = self.now.get(account, 0)
        if before + by != told:
            raise Misfit(f"{account} has {told} after {by:+d}, but had {before}")

    def take(self, account: str, balance: int | None) -> None:
        """As was expected."""
        assert balance is not None
        self.now[account] = self.changed[account] = balance


class Mark(Struct, frozen=True):
    """How far a partition is journaled."""

    epoch: int
    n: int
    hash: str

    def follows(self, entry: LogEntry) -> bool:
        """Whether `entry` is the next one: the next number, or the OPEN marker of a later epoch."""
        if entry.epoch == self.epoch:
            return entry.n == self.n + 1
        return entry.epoch > self.epoch and entry.n == 0


START = Mark(0, 0, FIRST_HASH)
_BODY = msgspec.json.Decoder(Body)


class Unreadable(Struct, frozen=True, kw_only=True):
    """An entry that is none: a changed byte on the store's disk is enough."""

    epoch: int
    n: int
    body: bytes
    reason: str


def parse(row: Any) -> "LogEntry | Unreadable":
    """An XRANGE row: `<epoch>-<n>` and its fields."""
    id, listed = row
    of_epoch, of_n = id.split(b"-")
    epoch, n = int(of_epoch), int(of_n)  # without `map`: a fifth of a microsecond of each entry
    try:
        at, balance, credited, combo, body = _fields(listed)
        text = body.decode()
        if "\0" in text:
            raise ValueError("a NUL in the text")
        about = _BODY.decode(body)
        return LogEntry(
            epoch,
            n,
            _number(at),
            None if balance is None else _number(balance),
            None if credited is None else _number(credited),
            _number(combo),
            body,
            text,
            about,
            KINDS.get(about.kind),
            f"viewer:{about.viewer}",
            f"creator:{about.creator}",
        )
    except (ValueError, msgspec.DecodeError) as error:
        return Unreadable(epoch=epoch, n=n, body=repr(listed).encode(), reason=f"cannot be read: {error!r}")


def _fields(listed: list[bytes]) -> tuple[bytes, bytes | None, bytes | None, bytes, bytes]:
    """Time, balance, credit, combo count and body, of the kinds of entry that the wallet's scripts write."""
    match listed:
        case [b"t", at, b"b", balance, b"d", credited, b"k", combo, b"e", body]:
            return at, balance, credited, combo, body
        case [b"t", at, b"b", balance, b"e", body]:
            return at, balance, None, b"0", body
        case [b"t", at, b"e", body]:
            return at, None, None, b"0", body
    raise ValueError("other fields than a script writes")


def _number(text: bytes) -> int:
    """A whole number that SQL and Lua hold exactly. Raises ValueError."""
    number = int(text)
    if not 0 <= number <= NUMBER_MAX:
        raise ValueError(f"{number} is out of range")
    return number


assert entries.columns.keys() == [
    *("partition", "epoch", "n", "kind", "user_id", "ref", "room_id", "creator_id", "coins", "diamonds"),
    *("balance", "credited", "combo_count", "at_ms", "body", "hash"),
]
assert postings.columns.keys() == ["partition", "epoch", "n", "leg", "asset", "account", "amount"]


class Rows:
    """Rows of both tables, value by value one behind the other: a tuple for each would cost as much as its contents."""

    __slots__ = ("entries", "postings")

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.postings: list[Any] = []


def book(partition: int, mark: Mark, entry: LogEntry, known: Positions, rows: Rows) -> Mark:
    """Add an entry's row and its postings; the mark after it. Raises Gap, Misfit, msgspec.ValidationError.

    The balances that the entry tells are checked against `known`, which moves along; of one that raises nothing stays.
    """
    if not mark.follows(entry):
        raise Gap(f"partition {partition}: {entry.epoch}-{entry.n} after {mark.epoch}-{mark.n}")
    kind, about, epoch, n = entry.kind, entry.about, entry.epoch, entry.n
    if kind is None:
        raise msgspec.ValidationError(f"unknown kind {about.kind}")
    if kind.coins is not None:
        _move(entry, kind.coins, kind, known)
    legs = rows.postings
    for leg, (asset, account, amount) in enumerate(kind.postings(about, entry.viewer, entry.creator)):
        legs += (partition, epoch, n, leg, asset, account, amount)
    digest = chain(mark.hash, partition, entry, entry.body)
    rows.entries += (
        partition,
        epoch,
        n,
        about.kind,
        about.viewer,
        about.id if kind is not OPEN else f"{about.kind}-{partition}-{epoch}",
        about.room,
        about.creator,
        about.coins,
        about.diamonds,
        entry.balance,
        entry.credited,
        entry.combo_count,
        entry.at_ms,
        entry.text,
        digest,
    )
    return Mark(epoch, n, digest)


def chain(last: str, partition: int, entry: Any, body: bytes) -> str:
    """The hash of an entry (or its row), given the one before: a changed, missing or inserted row breaks the chain."""
    link = f"{last} {partition} {entry.epoch}-{entry.n} {entry.at_ms} {entry.balance} {entry.credited} "
    return hashlib.sha256(link.encode() + body).hexdigest()


def _move(entry: LogEntry, sign: int, kind: Kind, known: Positions) -> None:
    """Check all of an entry's balances before one is taken. Raises Misfit."""
    known.expect(entry.viewer, sign * entry.about.coins, entry.balance)
    if kind.credits:
        known.expect(entry.creator, entry.about.diamonds, entry.credited)
        known.take(entry.creator, entry.credited)
    known.take(entry.viewer, entry.balance)
