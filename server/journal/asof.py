"""What the wallet store must hold at one log id, according to the journal: balances, counters, settings and totals.

The journal may be further: what later entries moved is taken off again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select, text, tuple_

from server import limits
from server.entries import KINDS, Also, Body, Kind
from server.journal.books import LogEntry
from server.journal.log import Position
from server.journal.sums import Sums, add_kind
from server.journal.tables import OF_SETTINGS, entries, positions

VIEWER, CREATOR = "viewer:", "creator:"
_BODY = msgspec.json.Decoder(Body)
_SPENDING = [kind.name for kind in KINDS.values() if kind.also is Also.DAY]


class Wallet(Struct):
    """A wallet as the store must have it. Its spending of a day is asked for apart (`spent`)."""

    coins: int = 0
    status: str = "ok"
    limit: int = 0
    next_limit: int | None = None
    next_day: int | None = None
    status_ms: int = 0
    limit_ms: int = 0

    def set_up(self, kind: Kind, about: Body, at_ms: int) -> None:
        """Follow an entry that sets the status or the own limit."""
        if kind.status and not 0 < about.ordered_ms < self.status_ms:
            self.status, self.status_ms = kind.status, about.ordered_ms or self.status_ms
        if kind.also is Also.LIMIT:
            self.limit_ms = about.ordered_ms or self.limit_ms
            self._set_limit(about.coins_per_day, at_ms // limits.DAY_MS)

    def _set_limit(self, limit: int, day: int) -> None:
        """As include/set_limit.lua does."""
        own = self.limit
        if self.next_day is not None and self.next_limit is not None and day >= self.next_day:
            own = self.next_limit
        if own == 0 or 0 < limit <= own:
            self.limit, self.next_limit, self.next_day = limit, None, None
        else:
            self.limit, self.next_limit, self.next_day = own, limit, day + 1


class Expected(Struct):
    """What the store must hold. An account that the journal does not know is in neither dict."""

    totals: Sums
    wallets: dict[str, Wallet] = {}  # msgspec copies it
    counters: dict[str, int] = {}

    def follow(self, entry: LogEntry) -> None:
        """Add an entry that is not journaled yet."""
        kind, about = entry.kind, entry.about
        add_kind(self.totals, kind, about.coins, about.diamonds)
        if kind is None or entry.balance is None:
            return
        wallet = self.wallets.setdefault(about.viewer, Wallet())
        wallet.coins = entry.balance
        wallet.set_up(kind, about, entry.at_ms)
        if entry.credited is not None and about.creator is not None:
            self.counters[about.creator] = entry.credited


class _Moved(Struct, frozen=True):
    """The columns of an entry that later ones are taken off by."""

    kind: str
    user_id: str
    creator_id: str | None
    coins: int
    diamonds: int
    balance: int | None
    credited: int | None


def expected(
    connection: Connection, partition: int, at: Position, sums: Sums, accounts: Sequence[str], *, behind: bool
) -> Expected:
    """What the store must hold of these accounts at a log id. `sums` are those of all entries of this snapshot.

    `behind` says that the journal has entries after that log id.
    """
    found = Expected(msgspec.structs.replace(sums))
    for chunk in chunks(accounts):
        for account, balance in connection.execute(_BALANCES, {"partition": partition, "accounts": chunk}).all():
            if account.startswith(VIEWER):
                found.wallets[account.removeprefix(VIEWER)] = Wallet(balance)
            elif account.startswith(CREATOR):
                found.counters[account.removeprefix(CREATOR)] = balance
    if behind:
        _take_off(connection, partition, at, found)
    _set_up(connection, partition, at, found.wallets)
    return found


def _take_off(connection: Connection, partition: int, at: Position, found: Expected) -> None:
    """Take off what entries after `at` moved: the first one of an account says what it had before."""
    columns = [entries.c[name] for name in _Moved.__struct_fields__]
    query = select(*columns).where(entries.c.partition == partition, after(at)).order_by(entries.c.epoch, entries.c.n)
    seen: set[str] = set()
    for row in (_Moved(*each) for each in connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS))):
        kind = KINDS.get(row.kind)
        add_kind(found.totals, kind, -row.coins, -row.diamonds)
        if kind is None or kind.coins is None:
            continue
        wallet, viewer, creator = found.wallets.get(row.user_id), VIEWER + row.user_id, f"{CREATOR}{row.creator_id}"
        if wallet is not None and row.balance is not None and viewer not in seen:
            wallet.coins = row.balance - kind.coins * row.coins
        seen.add(viewer)
        if not kind.credits:  # a refund names the creator too, and does not move the counter
            continue
        if row.creator_id in found.counters and row.credited is not None and creator not in seen:
            found.counters[row.creator_id] = row.credited - row.diamonds
        seen.add(creator)


def _set_up(connection: Connection, partition: int, at: Position, wallets: dict[str, Wallet]) -> None:
    """Follow the entries up to `at` that set statuses and limits."""
    these = {"partition": partition, "epoch": at[0], "n": at[1]}
    for chunk in chunks(list(wallets)):
        for user_id, name, at_ms, body in connection.execute(_SETTINGS, these | {"users": chunk}).all():
            wallets[user_id].set_up(KINDS[name], _BODY.decode(body), at_ms)


# Made once: to make such a statement costs more than to carry it out.
_UP_TO = tuple_(entries.c.epoch, entries.c.n) <= tuple_(bindparam("epoch"), bindparam("n"))
_BALANCES = select(positions.c.account, positions.c.balance).where(
    positions.c.partition == bindparam("partition"), positions.c.account.in_(bindparam("accounts", expanding=True))
)
_SETTINGS = (
    select(entries.c.user_id, entries.c.kind, entries.c.at_ms, entries.c.body)
    .where(entries.c.partition == bindparam("partition"), text(OF_SETTINGS), _UP_TO)
    .where(entries.c.user_id.in_(bindparam("users", expanding=True)))
    .order_by(entries.c.epoch, entries.c.n)
)


class Spent(Struct):
    """What somebody has spent on the day of their last gift."""

    day: int
    coins: int

    def add(self, day: int, coins: int) -> None:
        """Follow another gift."""
        self.day, self.coins = day, coins + (self.coins if day == self.day else 0)


def spent(connection: Connection, partition: int, at: Position, users: Sequence[str]) -> dict[str, Spent]:
    """What each of these users has spent on the day of their last gift. Those who gave nothing are left out."""
    found: dict[str, Spent] = {}
    gifts = entries.c.partition == partition, entries.c.kind.in_(_SPENDING), up_to(at)
    day = (entries.c.at_ms // limits.DAY_MS).label("day")
    for chunk in chunks(users):
        query = select(entries.c.user_id, day, func.sum(entries.c.coins)).where(*gifts, entries.c.user_id.in_(chunk))
        for user_id, number, coins in connection.execute(query.group_by(entries.c.user_id, day)):
            if user_id not in found or found[user_id].day < number:
                found[user_id] = Spent(number, int(coins))
    return found


def unknown(connection: Connection, partition: int, accounts: Sequence[str]) -> list[str]:
    """Those of these accounts that the journal does not know."""
    known: set[str] = set()
    for chunk in chunks(accounts):
        query = select(positions.c.account).where(positions.c.partition == partition, positions.c.account.in_(chunk))
        known.update(connection.execute(query).scalars())
    return [account for account in accounts if account not in known]


def window(connection: Connection, partition: int, start: str, count: int) -> list[str]:
    """The next accounts after `start`, in order."""
    query = select(positions.c.account).where(positions.c.partition == partition, positions.c.account > start)
    return list(connection.execute(query.order_by(positions.c.account).limit(count)).scalars())


def after(at: Position) -> Any:
    """Entries after a log id. Row values use the key; an OR of its columns reads the whole epoch."""
    return tuple_(entries.c.epoch, entries.c.n) > tuple_(*at)


def up_to(at: Position) -> Any:
    """Entries up to a log id."""
    return tuple_(entries.c.epoch, entries.c.n) <= tuple_(*at)


def chunks(all_: Sequence[str]) -> Iterator[Sequence[str]]:
    """Parts that are short enough for one statement."""
    for start in range(0, len(all_), limits.SQLITE_ROWS):
        yield all_[start : start + limits.SQLITE_ROWS]
