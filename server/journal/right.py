"""What the store of a partition must hold, as changes to what it has: wallets, counters, receipts and totals.

`compare` and `tail` find differences; here each becomes the key and the value that puts it right.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection

from server import limits
from server.entries import TOTALS, Also
from server.journal import asof, fence, receipts, tail
from server.journal.asof import CREATOR, VIEWER, Expected, Spent, Wallet
from server.journal.books import LogEntry
from server.journal.compare import NOTHING, Held, Stored
from server.journal.log import Position
from server.journal.scan import Names
from server.journal.sums import Sums
from server.store import keys

GONE = ""  # the value of a key or field that must not be there
Wanted = tuple[str, str]  # user and operation of a receipt


class Value(NamedTuple):
    """A key, a field of it or '', and what it must be."""

    key: str
    field: str
    value: str


class Books(Struct, frozen=True):
    """A partition's journal up to `mark`, and the entries that wait behind it."""

    partition: int
    mark: Position
    sums: Sums
    waiting: Sequence[LogEntry]

    @property
    def last(self) -> Position:
        """The last log id that the store must have."""
        return (self.waiting[-1].epoch, self.waiting[-1].n) if self.waiting else self.mark

    def accounts(self) -> set[str]:
        """The accounts of entries that wait."""
        moved = [entry for entry in self.waiting if entry.balance is not None]
        return {entry.viewer for entry in moved} | {e.creator for e in moved if e.credited is not None}

    def expected(self, connection: Connection, accounts: Sequence[str]) -> Expected:
        """What the store must hold of these accounts."""
        found = asof.expected(connection, self.partition, self.mark, self.sums, accounts, behind=False)
        for entry in self.waiting:
            found.follow(entry)
        return found


# --- totals ----------------------------------------------------------------------------------------------------------
def totals(connection: Connection, books: Books, stored: Stored | None) -> Iterator[Value]:
    """The partition's totals, its epoch and where it was opened. `stored` is None when they cannot be read."""
    key, held = keys.wallet_meta(books.partition), {} if stored is None else stored.meta
    sums = books.expected(connection, []).totals
    for total in TOTALS:
        ours = str(getattr(sums, total.sum))
        if ours != (held.get(total.counter) or "0"):
            yield Value(key, total.counter, ours)
    if books.last == NOTHING:
        return
    yield Value(key, "epoch", str(books.last[0]))
    if not held.get("opened"):
        holder = fence.held(connection).get(books.partition)  # any other name makes the next connection open it again
        yield Value(key, "opened", "corrected" if holder is None else holder.name)


# --- wallets and counters --------------------------------------------------------------------------------------------
def accounts(connection: Connection, books: Books, some: Sequence[str], stored: Stored) -> Iterator[Value]:
    """These accounts, which were read of the store."""
    partition = books.partition
    expected = books.expected(connection, some)
    spent = _spent(connection, books, [account.removeprefix(VIEWER) for account in some if account.startswith(VIEWER)])
    nothing = Held(*[None] * len(Held._fields))
    for account in some:
        name, odd = account.partition(":")[2], account in stored.odd
        if account.startswith(CREATOR):
            key, ours, theirs = keys.credit(partition, name), expected.counters.get(name), stored.counters.get(name)
            if odd or (theirs is not None if ours is None else str(ours) != (theirs or "0")):
                yield Value(key, "", GONE if ours is None else str(ours))
            continue
        key, wallet, held = keys.wallet(name), expected.wallets.get(name), stored.wallets.get(name, nothing)
        if odd or (wallet is None and held.exists):
            yield Value(key, "", GONE)
        if wallet is not None:
            yield from _fields(key, wallet, spent.get(name), held)


OWN_LIMIT = "limit"  # the field of a wallet's hash, not the kind of an entry


def _fields(key: str, wallet: Wallet, spent: Spent | None, held: Held) -> Iterator[Value]:
    """The fields of a wallet that differ. One that was never set may be missing."""
    has_next = wallet.next_limit is not None
    status = wallet.status if wallet.status_ms or wallet.status != "ok" else GONE  # an older program's `ok` may stay
    of_gifts = ("", "") if spent is None else (str(spent.day), str(spent.coins))
    right = (
        ("c", str(wallet.coins), held.coins or "0"),
        ("st", status, GONE if (held.status, status) == ("ok", GONE) else held.status or GONE),
        (OWN_LIMIT, _or_gone(wallet.limit), _or_gone(held.limit)),
        ("next_limit", str(wallet.next_limit) if has_next else GONE, held.next_limit or GONE),
        ("next_day", str(wallet.next_day) if has_next else GONE, held.next_day or GONE),
        ("st_ms", _or_gone(wallet.status_ms), _or_gone(held.status_ms)),
        ("limit_ms", _or_gone(wallet.limit_ms), _or_gone(held.limit_ms)),
        ("day", of_gifts[0], held.day or GONE),
        ("spent", of_gifts[1], held.spent or GONE),
    )
    yield from (Value(key, field, ours) for field, ours, theirs in right if ours != theirs)


def _or_gone(number: int | str | None) -> str:
    """A number as text. Without it the field is as if it were 0."""
    return GONE if number in (None, 0, "0") else str(number)


def _spent(connection: Connection, books: Books, users: Sequence[str]) -> dict[str, Spent]:
    found = asof.spent(connection, books.partition, books.mark, users)
    for entry in books.waiting:
        if entry.kind is not None and entry.kind.also is Also.DAY and entry.about.viewer in users:
            day = entry.at_ms // limits.DAY_MS
            found.setdefault(entry.about.viewer, Spent(day, 0)).add(day, entry.about.coins)
    return found


# --- receipts --------------------------------------------------------------------------------------------------------
def due(rows: Sequence[tail.Row], needed: receipts.Needed) -> dict[Wanted, receipts.Left]:
    """The receipts that these rows must have left, as far as they are still needed."""
    return {(row.user_id, left.operation): left for row, left in tail.due(rows) if needed.has(left)}


def waiting_rows(books: Books) -> list[tail.Row]:
    """The entries that wait, as the rows that they will be."""
    return [
        tail.Row(
            entry.epoch,
            entry.n,
            entry.about.kind,
            entry.about.viewer,
            entry.about.id,
            entry.at_ms,
            entry.balance,
            entry.combo_count,
            entry.body.decode(),
            entry.text,
        )
        for entry in books.waiting
    ]


def known(connection: Connection, books: Books, wanted: Sequence[Wanted]) -> dict[Wanted, receipts.Left]:
    """Of receipts that the store has, those that entries have left."""
    refs = list({receipts.ref_of(operation) for _, operation in wanted})
    found = [(row, left) for row, left in tail.due(waiting_rows(books)) if row.ref in refs]
    for chunk in asof.chunks(refs):
        found += tail.due(tail.rows_of(connection, books.partition, chunk))
    return {(row.user_id, left.operation): left for row, left in found}


def receipt(partition: int, wanted: Wanted, left: receipts.Left | None) -> Iterator[Value]:
    """Set a receipt, or delete one that no entry has left: from its hash, and the string of an older program."""
    user_id, operation = wanted
    as_string = f"{keys.all_of(partition)[:-1]}{keys.RECEIPTS}:{user_id}:{operation}"
    if not receipts.is_of_gift(operation):
        yield Value(as_string, "", GONE if left is None else left.text)
        return
    in_hash = keys.receipts(partition, receipts.made_ms(operation))
    yield Value(as_string, "", GONE)
    yield Value(in_hash, keys.receipts_field(user_id, operation), GONE if left is None else left.text)


def differing(
    partition: int, left: Mapping[Wanted, receipts.Left], held: Mapping[Wanted, str], wanted: Sequence[Wanted]
) -> Iterator[Value]:
    """The receipts among `wanted` that are not as their entries left them."""
    for key in wanted:
        text, ours = held.get(key), left.get(key)
        if text != (ours and ours.text) and not (text is not None and ours is not None and ours.agrees(text)):
            yield from receipt(partition, key, ours)


def strangers(partition: int, found: Names) -> Iterator[Value]:
    """Keys of users of other partitions, which nothing reads here."""
    for wrong in found.wrong:
        kind, _, rest = wrong.where.partition(":")
        yield Value(f"{keys.all_of(partition)[:-1]}{wrong.where}", "", GONE)
        user_id, _, operation = rest.partition(":")
        if kind == keys.RECEIPTS and receipts.is_of_gift(operation):
            yield from receipt(partition, (user_id, operation), None)
