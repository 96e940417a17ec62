"""From ledger entries to rows: each entry is checked, posted double, and chained to the one before."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from server.journal.lots import Share
from server.journal.tables import entries, postings

FIRST_HASH = "0" * 64
NUMBER_MAX = 2**53  # exact in JSON, Lua and SQL alike


class Gap(Exception):
    """The log does not go on where the journal ends: a second drain, or a store that lost or skipped entries."""


class Misfit(Exception):
    """An entry's balance does not follow from the one before: drift, a double application, a changed byte."""


Short = Annotated[str, Meta(max_length=64)]
Amount = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class Body(Struct, frozen=True, kw_only=True, gc=False):
    """What every kind of entry may say, no longer than its column."""

    kind: Annotated[str, Meta(max_length=16)]
    id: Short = ""
    viewer: Short = ""
    creator: Short | None = None
    room: Short | None = None
    coins: Amount = 0
    diamonds: Amount = 0
    coins_per_day: Amount = 0
    reversed: tuple[Share, ...] = ()


class LogEntry(Struct, frozen=True, kw_only=True, gc=False):
    """One entry of a partition's log as the wallet store holds it; `about` is what its body says."""

    epoch: int
    n: int
    at_ms: int
    balance: int | None
    credited: int | None
    combo_count: int
    body: bytes
    about: Body

    def accounts(self) -> Iterator[str]:
        """The accounts whose balance this entry tells."""
        if self.balance is not None:
            yield f"viewer:{self.about.viewer}"
        if self.credited is not None:
            yield f"creator:{self.about.creator}"


class Positions:
    """Balances of a partition's accounts as the journal has them, moved along as entries are booked."""

    def __init__(self, mark: "Mark") -> None:
        self.mark = mark  # after which they stand
        self.now: dict[str, int] = {}
        self.changed: dict[str, int] = {}

    def move(self, *moves: tuple[str, int, int | None]) -> None:
        """Check that the entry's own balances are those that follow, and take them all. Raises Misfit."""
        for account, by, told in moves:
            before = self.now.get(account, 0)
            if before + by != told:
                raise Misfit(f"{account} has {told} after {by:+d}, but had {before}")
        for account, _, told in moves:
            assert told is not None
            self.now[account] = self.changed[account] = told


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
    epoch, n = map(int, id.split(b"-"))
    try:
        pairs = iter(listed)
        fields = dict(zip(pairs, pairs, strict=True))
        if "\0" in fields[b"e"].decode():
            raise ValueError("a NUL in the text")
        entry = LogEntry(
            epoch=epoch,
            n=n,
            at_ms=_number(fields[b"t"]),
            balance=_number(fields[b"b"]) if b"b" in fields else None,
            credited=_number(fields[b"d"]) if b"d" in fields else None,
            combo_count=_number(fields.get(b"k", b"0")),
            body=fields[b"e"],
            about=_BODY.decode(fields[b"e"]),
        )
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        return Unreadable(epoch=epoch, n=n, body=repr(listed).encode(), reason=f"cannot be read: {error!r}")
    return entry


def _number(text: bytes) -> int:
    """A whole number that SQL and Lua hold exactly. Raises ValueError."""
    number = int(text)
    if not 0 <= number <= NUMBER_MAX:
        raise ValueError(f"{number} is out of range")
    return number


class Row(NamedTuple):
    """A row of `entries`, in its columns' order."""

    partition: int
    epoch: int
    n: int
    kind: str
    user_id: str
    ref: str
    room_id: str | None
    creator_id: str | None
    coins: int
    diamonds: int
    balance: int | None
    credited: int | None
    combo_count: int
    at_ms: int
    body: str
    hash: str


Leg = tuple[int, int, int, int, str, str, int]  # a row of `postings`: partition, epoch, n, leg, asset, account, amount
assert Row._fields == tuple(entries.columns.keys())
assert postings.columns.keys() == ["partition", "epoch", "n", "leg", "asset", "account", "amount"]


def book(partition: int, mark: Mark, entry: LogEntry, known: Positions) -> tuple[Mark, Row, list[Leg]]:
    """The mark after the entry, its row, its postings. Raises Gap, Misfit, msgspec.ValidationError.

    The balances that the entry tells are checked against `known`, which moves along.
    """
    if not mark.follows(entry):
        raise Gap(f"partition {partition}: {entry.epoch}-{entry.n} after {mark.epoch}-{mark.n}")
    about, epoch, n = entry.about, entry.epoch, entry.n
    legs_of = _legs(about)
    _move(entry, about, known)
    digest = chain(mark.hash, partition, entry, entry.body)
    row = Row(
        partition,
        epoch,
        n,
        about.kind,
        about.viewer,
        about.id if about.kind != "open" else f"open-{partition}-{epoch}",
        about.room,
        about.creator,
        about.coins,
        about.diamonds,
        entry.balance,
        entry.credited,
        entry.combo_count,
        entry.at_ms,
        entry.body.decode(),
        digest,
    )
    legs = [(partition, epoch, n, leg, *posting) for leg, posting in enumerate(legs_of)]
    return Mark(epoch, n, digest), row, legs


def chain(last: str, partition: int, entry: Any, body: bytes) -> str:
    """The hash of an entry (or its row), given the one before: a changed, missing or inserted row breaks the chain."""
    link = f"{last} {partition} {entry.epoch}-{entry.n} {entry.at_ms} {entry.balance} {entry.credited} "
    return hashlib.sha256(link.encode() + body).hexdigest()


def _move(entry: LogEntry, body: Body, known: Positions) -> None:
    match body.kind:
        case "gift":
            known.move(
                (f"viewer:{body.viewer}", -body.coins, entry.balance),
                (f"creator:{body.creator}", body.diamonds, entry.credited),
            )
        case "topup" | "refund":
            known.move((f"viewer:{body.viewer}", body.coins, entry.balance))
        case "chargeback":
            known.move((f"viewer:{body.viewer}", -body.coins, entry.balance))
        case "freeze" | "unfreeze" | "limit":
            known.move((f"viewer:{body.viewer}", 0, entry.balance))


def _legs(body: Body) -> list[tuple[str, str, int]]:
    """Who gives, who gets: zero in each asset (TigerBeetle's recipe for an exchange of currencies)."""
    match body.kind:
        case "gift":
            return [
                ("coins", f"viewer:{body.viewer}", -body.coins),
                ("coins", "house:spent", body.coins),
                ("diamonds", "house:awarded", -body.diamonds),
                ("diamonds", f"creator:{body.creator}", body.diamonds),
            ]
        case "topup":
            return [
                ("coins", "house:sold", -body.coins),
                ("coins", f"viewer:{body.viewer}", body.coins),
            ]
        case "refund":
            return [
                ("coins", "house:spent", -body.coins),
                ("coins", f"viewer:{body.viewer}", body.coins),
                ("diamonds", f"creator:{body.creator}", -body.diamonds),
                ("diamonds", "house:awarded", body.diamonds),
            ]
        case "chargeback":
            return _chargeback_legs(body)
        case "open" | "freeze" | "unfreeze" | "limit":
            return []
        case _:
            raise msgspec.ValidationError(f"unknown kind {body.kind}")


def _chargeback_legs(body: Body) -> list[tuple[str, str, int]]:
    """The sale is undone: what is left of it from the wallet, what was spent of it from the gifts it paid for."""
    spent = sum(share.coins for share in body.reversed)
    legs = [
        ("coins", f"viewer:{body.viewer}", -body.coins),
        ("coins", "house:spent", -spent),
        ("coins", "house:sold", body.coins + spent),
    ]
    for share in body.reversed:
        legs.append(("diamonds", f"creator:{share.creator}", -share.diamonds))
        legs.append(("diamonds", "house:awarded", share.diamonds))
    return legs
