"""Compares each account's position, and what the view `postings` says of it, with the sums of a partition's rows."""

from collections import Counter
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, select

from server import limits
from server.entries import CREATOR, KINDS, VIEWER
from server.journal.findings import Wrong
from server.journal.tables import entries, legs, positions, postings


class Sums:
    """What each account's postings sum to, by the columns of entries and the stored postings; not by the view."""

    def __init__(self, connection: Connection, partition: int) -> None:
        self.all: Counter[Any] = Counter()  # by asset and account
        # As positions count: a creator's without what was taken back.
        self.held: dict[str, int] = {}
        self._positions = partition != limits.BOOKS  # these have none: no store counts along
        these = {"partition": partition}
        for kind, user_id, *sums in connection.execute(_BY_VIEWER, these):
            self._add(kind, sums, f"{VIEWER}:{user_id}", "")
        for kind, creator_id, *sums in connection.execute(_BY_CREATOR, these):
            self._add(kind, sums, "", f"{CREATOR}:{creator_id or ''}")
        for asset, account, amount, more in connection.execute(_STORED, these):
            self._post(asset, account, int(amount), int(more))

    def _add(self, name: str, sums: list[Any], viewer: str, creator: str) -> None:
        """Add the legs of a kind's entries with one viewer and of the house, or with one creator."""
        kind = KINDS.get(name)
        amounts = dict(zip(_ASSETS, map(int, sums), strict=True))
        for leg in kind.legs if kind is not None else ():
            if (leg.account == CREATOR) == bool(creator):
                amount = leg.sign * amounts[leg.asset]
                account = {VIEWER: viewer, CREATOR: creator}.get(leg.account, leg.account)
                self._post(leg.asset, account, amount, max(0, amount))

    def _post(self, asset: str, account: str, amount: int, more: int) -> None:
        self.all[asset, account] += amount
        if self._positions and not account.startswith("house:"):
            counted = more if account.startswith(f"{CREATOR}:") else amount
            self.held[account] = self.held.get(account, 0) + counted


def differ(connection: Connection, partition: int) -> list[Wrong]:
    """Find positions that do not follow from the rows. Raises SQLAlchemyError."""
    sums = Sums(connection, partition)
    held = {account: balance for account, balance in connection.execute(_HELD, {"partition": partition})}
    found = [_about_position(account, held, sums) for account in sorted(held.keys() | sums.held.keys())]
    for (asset, account), sum_ in sorted(sums.all.items()):
        if account.startswith("held:") and sum_ < 0:
            found.append((account, f"{-sum_} {asset} more were taken of it than were held"))
    return list(islice((Wrong(partition, *wrong) for wrong in found if wrong), limits.AUDIT_WRONG_MAX))


def _about_position(account: str, held: dict[str, int], sums: Sums) -> tuple[str, str] | None:
    balance, total = held.get(account), sums.held.get(account, 0)
    if account.startswith("house:"):
        return account, "has a position"
    if balance is None:
        return account, f"has no position, but its postings sum to {total}"
    if balance != total:
        return account, f"has a position of {balance}, but its postings sum to {total}"
    return None


def view_differs(connection: Connection, partition: int) -> list[str]:
    """Where the view `postings` says something else. Nothing that pays reads it; people do. Raises SQLAlchemyError."""
    ours = Sums(connection, partition).all
    theirs = Counter({tuple(of): int(sum_) for *of, sum_ in connection.execute(_VIEW, {"partition": partition})})
    found = (
        f"postings: {account} has {theirs[asset, account]} {asset} in partition {partition}, "
        f"but its entries say {ours[asset, account]}"
        for asset, account in sorted(ours.keys() | theirs.keys())
        if ours[asset, account] != theirs[asset, account]
    )
    return list(islice(found, limits.AUDIT_WRONG_MAX))


_PARTITION: Any = bindparam("partition")
_ASSETS = ("coins", "diamonds")
_AMOUNTS = [func.sum(entries.c[asset]) for asset in _ASSETS]
_OF_CREATORS = [kind.name for kind in KINDS.values() if any(leg.account == CREATOR for leg in kind.legs)]
_BY_VIEWER = (
    select(entries.c.kind, entries.c.user_id, *_AMOUNTS)
    .where(entries.c.partition == _PARTITION)
    .group_by(entries.c.kind, entries.c.user_id)
)
_BY_CREATOR = (
    select(entries.c.kind, entries.c.creator_id, *_AMOUNTS)
    .where(entries.c.partition == _PARTITION, entries.c.kind.in_(_OF_CREATORS))
    .group_by(entries.c.kind, entries.c.creator_id)
)
_STORED = (
    select(
        legs.c.asset,
        legs.c.account,
        func.sum(legs.c.amount),
        func.sum(case((legs.c.amount > 0, legs.c.amount), else_=0)),
    )
    .where(legs.c.partition == _PARTITION)
    .group_by(legs.c.asset, legs.c.account)
)
_HELD = select(positions.c.account, positions.c.balance).where(positions.c.partition == _PARTITION)
_VIEW = (
    select(postings.c.asset, postings.c.account, func.sum(postings.c.amount))
    .where(postings.c.partition == _PARTITION)
    .group_by(postings.c.asset, postings.c.account)
)
