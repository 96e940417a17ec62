"""Turns ledger entries into rows: checks each entry, makes its stored postings, and chains it to the last one."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from server import limits
from server.entries import BOOKS, KINDS, NUMBER_MAX, OPEN, Body, Kind
from server.journal.tables import entries, legs
from server.journal.texts import split

FIRST_HASH = "0" * 64
VERSION = 2  # of the chain: 1 leaves out `combo_count` and the version itself, and has personal text in the body


class Gap(Exception):
    """The log does not continue where the journal ends: a second drain, or a store that lost or skipped entries."""


class Misfit(Exception):
    """An entry's balance does not follow from the one before, for instance because an entry was applied twice."""


class WrongRow(Exception):
    """A row of the journal whose columns do not follow from its body. The text names the row."""


class LogEntry(Struct, frozen=True, gc=False):
    """One entry of a partition's log. `epoch` and `n` are its log id; `about` is its parsed body."""

    epoch: int
    n: int
    at_ms: int
    balance: int | None
    credited: int | None
    combo_count: int
    entry: bytes  # as the log has it
    body: bytes  # what is chained of it
    text: str | None  # its personal text
    about: Body
    kind: Kind | None  # None when a newer program wrote it
    viewer: str  # account names, made once for all their uses
    creator: str
    version: int = VERSION


class Positions:
    """A partition's balances according to the journal. They move as entries are booked."""

    def __init__(self, mark: "Mark") -> None:
        self.mark = mark  # the balances are as of this mark
        self.now: dict[str, int] = {}
        self.changed: dict[str, int] = {}

    def expect(self, account: str, by: int, balance: int | None) -> None:
        """Check that the balance in an entry follows from the one before. Raises Misfit."""
        before = self.now.get(account, 0)
        if before + by != balance:
            raise Misfit(f"{account} has {balance} after {by:+d}, but had {before}")

    def take(self, account: str, balance: int | None) -> None:
        """Set a balance that `expect` has checked."""
        assert balance is not None
        self.now[account] = self.changed[account] = balance


class Mark(Struct, frozen=True):
    """How far a partition is journaled."""

    epoch: int
    n: int
    hash: str

    def follows(self, entry: LogEntry) -> bool:
        """Whether `entry` comes next: it has the next number, or is the OPEN marker of a later epoch."""
        if entry.epoch == self.epoch:
            return entry.n == self.n + 1
        return entry.epoch > self.epoch and entry.n == 0


START = Mark(0, 0, FIRST_HASH)
_BODY = msgspec.json.Decoder(Body)


class Unreadable(Struct, frozen=True, kw_only=True):
    """An entry that cannot be read. One changed byte on the store's disk is enough."""

    epoch: int
    n: int
    entry: bytes
    reason: str


def parse(row: Any) -> "LogEntry | Unreadable":
    """Parse an XRANGE row: a log id `<epoch>-<n>`, and a list of fields."""
    log_id, fields = row
    epoch_text, n_text = log_id.split(b"-")
    epoch, n = int(epoch_text), int(n_text)  # without `map`, which costs 0.2 us per entry
    try:
        at, balance, credited, combo, entry = _values(fields)
        if b"\0" in entry:
            raise ValueError("a NUL in the text")
        entry.decode()  # msgspec does not look into fields that it skips
        body, text = split(entry)
        about = _BODY.decode(body)
        return LogEntry(
            epoch,
            n,
            _number(at),
            None if balance is None else _number(balance),
            None if credited is None else _number(credited),
            _number(combo),
            entry,
            body,
            None if text is None else text.decode(),
            about,
            KINDS.get(about.kind),
            f"viewer:{about.viewer}",
            f"creator:{about.creator}",
        )
    except (ValueError, msgspec.DecodeError) as error:
        return Unreadable(epoch=epoch, n=n, entry=repr(fields).encode(), reason=f"cannot be read: {error!r}")


def chained_as(entry: LogEntry, version: int) -> LogEntry:
    """An entry of the log as an older version chains it: whole, with its personal text."""
    if version == entry.version:
        return entry
    return msgspec.structs.replace(entry, body=entry.entry, text=None, version=version)


def _values(fields: list[bytes]) -> tuple[bytes, bytes | None, bytes | None, bytes, bytes]:
    """Time, balance, credit, combo count and body, in the three forms that the wallet's scripts write."""
    match fields:
        case [b"t", at, b"b", balance, b"d", credited, b"k", combo, b"e", body]:
            return at, balance, credited, combo, body
        case [b"t", at, b"b", balance, b"e", body]:
            return at, balance, None, b"0", body
        case [b"t", at, b"e", body]:
            return at, None, None, b"0", body
    raise ValueError("no script writes these fields")


def _number(text: bytes) -> int:
    """Parse a whole number that SQL and Lua represent exactly. Raises ValueError."""
    number = int(text)
    if not 0 <= number <= NUMBER_MAX:
        raise ValueError(f"{number} is out of range")
    return number


class EntryRow(Struct, frozen=True, gc=False):
    """A row of `entries`."""

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
    version: int
    text: str | None


COLUMNS = EntryRow.__struct_fields__
assert tuple(entries.columns.keys()) == COLUMNS
assert legs.columns.keys() == ["partition", "epoch", "n", "leg", "asset", "account", "amount"]


class Rows:
    """Rows of both tables, flattened into one list each: a tuple for each row would cost as much as its contents."""

    __slots__ = ("entries", "legs")

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.legs: list[Any] = []


def book(partition: int, mark: Mark, entry: LogEntry, known: Positions, rows: Rows) -> Mark:
    """Check an entry, add its row and stored postings, and return its mark. Raises Gap, Misfit, ValidationError.

    Checks the entry's balances against `known` and then moves `known`. An entry that raises changes nothing.
    """
    digest, columns, legs = follow(partition, mark, entry, known)
    rows.legs += legs
    rows.entries += (
        partition,
        entry.epoch,
        entry.n,
        *columns,
        entry.balance,
        entry.credited,
        entry.combo_count,
        entry.at_ms,
        entry.body.decode(),
        digest,
        entry.version,
        entry.text,
    )
    return Mark(entry.epoch, entry.n, digest)


def follow(partition: int, mark: Mark, entry: LogEntry, known: Positions) -> tuple[str, tuple[Any, ...], Sequence[Any]]:
    """Check an entry and move `known`. Returns its hash, its DERIVED columns, and its stored postings, flattened.

    Raises Gap, Misfit, ValidationError, and then nothing is changed.
    """
    if not mark.follows(entry):
        raise Gap(f"partition {partition}: {entry.epoch}-{entry.n} after {mark.epoch}-{mark.n}")
    kind, about, epoch, n = entry.kind, entry.about, entry.epoch, entry.n
    if kind is None:
        raise msgspec.ValidationError(f"unknown kind {about.kind}")
    if (kind.writer == BOOKS) != (partition == limits.BOOKS):
        raise msgspec.ValidationError(f"{about.kind} in partition {partition}, but it is written by {kind.writer}")
    if kind.coins is not None:
        _move(entry, kind.coins, kind, known)
    stored: Sequence[Any] = ()
    if kind.stored is not None:
        each = enumerate(kind.stored(about, entry.viewer))
        stored = [value for leg, posting in each for value in (partition, epoch, n, leg, *posting)]
    return chain(mark.hash, partition, entry, entry.body), _columns(partition, epoch, about), stored


# What a body says a second time in columns of its row, so that SQL can find it.
DERIVED = ("kind", "user_id", "ref", "room_id", "creator_id", "coins", "diamonds")
OF_DERIVED = slice(3, 3 + len(DERIVED))  # of a row's columns
assert COLUMNS[OF_DERIVED] == DERIVED


def _columns(partition: int, epoch: int, about: Body) -> tuple[Any, ...]:
    ref = about.id if about.kind != OPEN.name else f"{OPEN.name}-{partition}-{epoch}"
    return about.kind, about.viewer, ref, about.room, about.creator, about.coins, about.diamonds


def entry_of(row: EntryRow) -> LogEntry:
    """Read the log's entry again from what is canonical in its row. Raises WrongRow."""
    about = _about(row)
    return LogEntry(
        row.epoch,
        row.n,
        row.at_ms,
        row.balance,
        row.credited,
        row.combo_count,
        b"",
        row.body.encode(),
        row.text,
        about,
        KINDS.get(about.kind),
        f"viewer:{about.viewer}",
        f"creator:{about.creator}",
        row.version,
    )


def _about(row: Any) -> Body:
    try:
        return _BODY.decode(row.body)
    except (ValueError, msgspec.DecodeError) as error:
        name = f"partition {row.partition}, {row.epoch}-{row.n}"
        raise WrongRow(f"{name}: its body cannot be read: {error}") from None


def derived(row: EntryRow) -> Body:
    """Read a row's body, and check its columns against it: one UPDATE can change a column. Raises WrongRow."""
    about = _about(row)
    name = f"partition {row.partition}, {row.epoch}-{row.n}"
    for column, ours in zip(DERIVED, _columns(row.partition, row.epoch, about), strict=True):
        theirs = getattr(row, column)
        if theirs != ours:
            raise WrongRow(f"{name}: {column} is {theirs}, but its body says {ours}")
    return about


def chain(last: str, partition: int, entry: Any, body: bytes) -> str:
    """Hash an entry, or its row, with the hash before it: a changed, missing or inserted row breaks the chain."""
    link = f"{last} {partition} {entry.epoch}-{entry.n} {entry.at_ms} {entry.balance} {entry.credited} "
    if entry.version != 1:
        link = f"{entry.version} {link}{entry.combo_count} "
    return hashlib.sha256(link.encode() + body).hexdigest()


def _move(entry: LogEntry, sign: int, kind: Kind, known: Positions) -> None:
    """Check all balances of an entry, then set them. Raises Misfit."""
    known.expect(entry.viewer, sign * entry.about.coins, entry.balance)
    if kind.credits:
        known.expect(entry.creator, entry.about.diamonds, entry.credited)
        known.take(entry.creator, entry.credited)
    known.take(entry.viewer, entry.balance)
