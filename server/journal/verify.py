"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, and_, func, or_, select

from server import limits
from server.entries import KINDS
from server.journal.books import FIRST_HASH, chain
from server.journal.findings import Wrong
from server.journal.sums import Sums, add_kind, held_by
from server.journal.tables import entries, positions, postings, watermarks


class Head(Struct, frozen=True):
    """How far a partition's chain is verified: its last entry, and the hash there."""

    epoch: int
    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"


START = Head(0, 0, FIRST_HASH)


class Verified(Struct, frozen=True):
    """A partition's journal as one transaction saw it. `head` is None when the partition has no watermark."""

    wrong: list[Wrong]
    sums: Sums
    head: Head | None


def verify(connection: Connection, partition: int, start: Head = START) -> Verified:
    """Verify the rows after `start`, and everything that is derived from all rows. Raises SQLAlchemyError."""
    row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
    if row is None:
        return Verified([], Sums(), None)
    mark = Head(row.epoch, row.n, row.hash)
    wrong = _chain(connection, partition, start, mark) + _unbalanced(connection, partition)
    sums = _sums(connection, partition)
    wrong += _drifted(connection, partition)
    sums.held = _held(connection, partition)
    expected, formula = held_by(sums)
    if expected != sums.held:
        wrong.append(Wrong(partition, "coins", f"{formula} is not held {sums.held}"))
    return Verified(wrong, sums, mark)


def _chain(connection: Connection, partition: int, start: Head, mark: Head) -> list[Wrong]:
    """Recompute the hashes from where the last run verified them."""
    epoch, n, last = start.epoch, start.n, start.hash
    query = (
        select(entries)
        .where(entries.c.partition == partition)
        .where(or_(entries.c.epoch > epoch, and_(entries.c.epoch == epoch, entries.c.n > n)))
        .order_by(entries.c.epoch, entries.c.n)
    )
    with connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS)) as rows:
        for row in rows:
            follows = row.n == n + 1 if row.epoch == epoch else row.n == 0
            digest = chain(last, partition, row, row.body.encode())
            if not follows or digest != row.hash:
                what = "the hash does not follow" if follows else f"follows {epoch}-{n}"
                return [Wrong(partition, f"{row.epoch}-{row.n}", what)]
            epoch, n, last = row.epoch, row.n, digest
    if Head(epoch, n, last) != mark:
        return [Wrong(partition, str(mark), f"the watermark is not the last entry {epoch}-{n}")]
    return []


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


def _drifted(connection: Connection, partition: int) -> list[Wrong]:
    """Find wallets whose position is not the sum of their postings."""
    posted = (
        select(postings.c.account, func.sum(postings.c.amount).label("total"))
        .where(postings.c.partition == partition)
        .group_by(postings.c.account)
        .subquery()
    )
    total = func.coalesce(posted.c.total, 0)
    query = (
        select(positions.c.account, positions.c.balance, total)
        .outerjoin(posted, posted.c.account == positions.c.account)
        .where(_viewers_of(partition), total != positions.c.balance)
        .limit(limits.AUDIT_WRONG_MAX)
    )
    return [
        Wrong(partition, account, f"holds {balance}, its postings sum to {sum_}")
        for account, balance, sum_ in connection.execute(query)
    ]


def window(connection: Connection, partition: int, after: str) -> list[tuple[str, int]]:
    """Some of the partition's viewers, and their coins according to `positions`."""
    query = select(positions).where(_viewers_of(partition), positions.c.account > f"viewer:{after}")
    rows = connection.execute(query.order_by(positions.c.account).limit(limits.AUDIT_WALLETS))
    return [(row.account[7:], row.balance) for row in rows]
