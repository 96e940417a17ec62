"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from itertools import islice
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Select, and_, case, exists, func, select
from sqlalchemy.exc import DBAPIError

from server import limits
from server.entries import KINDS
from server.journal.findings import Wrong
from server.journal.rederive import START, Head, rederive
from server.journal.sums import Sums, add_kind, held_by
from server.journal.tables import entries, missing, positions, postings, watermarks


class Verified(Struct, frozen=True):
    """A partition's journal as one transaction saw it. `head` is None when the partition has no watermark."""

    wrong: list[Wrong]
    sums: Sums
    head: Head | None


def verify(connection: Connection, partition: int, start: Head = START) -> Verified:
    """Derive the rows after `start` again, and check what all rows must have in common. Raises SQLAlchemyError."""
    try:
        return _verify(connection, partition, start)
    except DBAPIError:
        connection.rollback()
        if not (tables := missing(connection)):
            raise
        return Verified([Wrong(partition, table, "the table is missing") for table in tables], Sums(), None)


def _verify(connection: Connection, partition: int, start: Head) -> Verified:
    row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
    mark = START if row is None else Head(row.epoch, row.n, row.hash)
    wrong, head = rederive(connection, partition, start)
    if not wrong and head != mark:
        wrong.append(Wrong(partition, str(head), f"the watermark is {mark}, not at this last entry"))
    wrong += _gaps(connection, partition, mark) + _unbalanced(connection, partition)
    sums = _sums(connection, partition)
    wrong += _misplaced(connection, partition)
    sums.held = _held(connection, partition)
    expected, formula = held_by(sums)
    if expected != sums.held:
        wrong.append(Wrong(partition, "coins", f"{formula} is not held {sums.held}"))
    return Verified(wrong, sums, None if row is None else mark)


def _gaps(connection: Connection, partition: int, mark: Head) -> list[Wrong]:
    """Find epochs whose entries are not numbered from 0 without a gap, and a last entry that is not the watermark's."""
    count, first, last = func.count(), func.min(entries.c.n), func.max(entries.c.n)
    query = select(entries.c.epoch, count, first, last).where(entries.c.partition == partition)
    wrong = []
    for epoch, found, low, high in connection.execute(query.group_by(entries.c.epoch).order_by(entries.c.epoch)):
        if (low, high) != (0, found - 1):
            n = _first_gap(connection, partition, epoch)
            wrong.append(Wrong(partition, f"{epoch}-{n}", f"{found} entries of epoch {epoch} go from {low} to {high}"))
    if (end := _last(connection, partition)) != mark:
        wrong.append(
            Wrong(partition, str(end), f"the watermark is {mark}, not at this last entry or with another hash")
        )
    return wrong


def _last(connection: Connection, partition: int) -> Head:
    query = select(entries.c.epoch, entries.c.n, entries.c.hash).where(entries.c.partition == partition)
    row = connection.execute(query.order_by(entries.c.epoch.desc(), entries.c.n.desc()).limit(1)).one_or_none()
    return START if row is None else Head(*row)


def _first_gap(connection: Connection, partition: int, epoch: int) -> int:
    """The first number that an epoch does not have."""
    before = entries.alias()
    of = and_(before.c.partition == entries.c.partition, before.c.epoch == epoch, before.c.n == entries.c.n - 1)
    query = (
        select(entries.c.n)
        .where(entries.c.partition == partition, entries.c.epoch == epoch, entries.c.n > 0)
        .where(~exists().where(of))
    )
    found = connection.execute(query.order_by(entries.c.n).limit(1)).scalar()
    return 0 if found is None else int(found) - 1


def _unbalanced(connection: Connection, partition: int) -> list[Wrong]:
    """Find entries whose postings do not sum to zero in an asset."""
    query = (
        select(postings.c.epoch, postings.c.n, postings.c.asset, func.sum(postings.c.amount).label("total"))
        .where(postings.c.partition == partition)
        .group_by(postings.c.epoch, postings.c.n, postings.c.asset)
        .having(func.sum(postings.c.amount) != 0)
        .limit(limits.AUDIT_WRONG_MAX)
    )
    return [
        Wrong(partition, f"{row.epoch}-{row.n}", f"postings of {row.asset} sum to {row.total}")
        for row in connection.execute(query)
    ]


def _sums(connection: Connection, partition: int) -> Sums:
    query = (
        select(entries.c.kind, func.count(), func.sum(entries.c.coins), func.sum(entries.c.diamonds))
        .where(entries.c.partition == partition)
        .group_by(entries.c.kind)
    )
    sums = Sums()
    for kind, count, coins, diamonds in connection.execute(query):
        sums.entries += count
        add_kind(sums, KINDS.get(kind), int(coins), int(diamonds))
    return sums


def _held(connection: Connection, partition: int) -> int:
    query = select(func.sum(positions.c.balance)).where(_viewers_of(partition))
    return int(connection.execute(query).scalar() or 0)


def _viewers_of(partition: int) -> Any:
    return and_(positions.c.partition == partition, positions.c.account.like("viewer:%"))


def _misplaced(connection: Connection, partition: int) -> list[Wrong]:
    """Find positions that do not follow from the postings, or for creators from the entries that credit them."""
    query = select(positions.c.account, positions.c.balance).where(positions.c.partition == partition)
    held = _by_account(connection, query)
    posted, earned = _posted(connection, partition), _earned(connection, partition)
    found = (_about_position(account, held, posted, earned) for account in sorted({*held, *posted, *earned}))
    return list(islice((Wrong(partition, *wrong) for wrong in found if wrong), limits.AUDIT_WRONG_MAX))


def _about_position(
    account: str, held: dict[str, int], posted: dict[str, int], earned: dict[str, int]
) -> tuple[str, str] | None:
    balance, total = held.get(account), posted.get(account, 0)
    if account.startswith("house:"):
        return None if balance is None else (account, "has a position")
    if balance is None:
        return account, f"has no position, but its postings sum to {total}"
    if balance != total:
        return account, f"has a position of {balance}, but its postings sum to {total}"
    if account.startswith("creator:") and balance != earned.get(account, 0):
        return account, f"has a position of {balance}, but its gifts brought {earned.get(account, 0)}"
    return None


def _posted(connection: Connection, partition: int) -> dict[str, int]:
    """Each account's sum of postings as its position counts it: a creator's without what was taken back."""
    amount = postings.c.amount
    counted = case((and_(postings.c.account.like("creator:%"), amount < 0), 0), else_=amount)
    query = select(postings.c.account, func.sum(counted)).where(postings.c.partition == partition)
    return _by_account(connection, query.group_by(postings.c.account))


def _earned(connection: Connection, partition: int) -> dict[str, int]:
    """The diamonds of each creator's gifts."""
    crediting = [kind.name for kind in KINDS.values() if kind.credits]
    query = (
        select("creator:" + func.coalesce(entries.c.creator_id, ""), func.sum(entries.c.diamonds))
        .where(entries.c.partition == partition, entries.c.kind.in_(crediting))
        .group_by(entries.c.creator_id)
    )
    return _by_account(connection, query)


def _by_account(connection: Connection, query: Select[Any]) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def window(connection: Connection, partition: int, after: str) -> list[tuple[str, int]]:
    """Some of the partition's viewers, and their coins according to `positions`."""
    query = select(positions).where(_viewers_of(partition), positions.c.account > f"viewer:{after}")
    rows = connection.execute(query.order_by(positions.c.account).limit(limits.AUDIT_WALLETS))
    return [(row.account[7:], row.balance) for row in rows]


__all__ = ["START", "Head", "Verified", "verify", "window"]
