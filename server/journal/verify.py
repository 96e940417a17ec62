"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, and_, func, select

from server import limits
from server.journal.books import chain
from server.journal.findings import Wrong
from server.journal.heads import START, Head
from server.journal.log import Position
from server.journal.sums import Sums, held_by
from server.journal.tables import entries, positions, postings, watermarks
from server.journal.totals import between, within


class Verified(Struct, frozen=True):
    """A partition's journal as one transaction saw it. `head` is None when the partition has no watermark."""

    wrong: list[Wrong]
    sums: Sums
    head: Head | None


def verify(connection: Connection, partition: int, start: Head = START) -> Verified:
    """Verify the rows after `start`, and from START also what is derived from all rows. Raises SQLAlchemyError.

    What is below `start` was verified before: counts (`heads`) and slices (`again`) look after it.
    """
    row = connection.execute(select(watermarks).where(watermarks.c.partition == partition)).one_or_none()
    if row is None:
        return Verified([], Sums(), None)
    mark = Head(row.epoch, row.n, row.hash)
    wrong, head = follow(connection, partition, start, (mark.epoch, mark.n))
    if not wrong and (head.epoch, head.n, head.hash) != (mark.epoch, mark.n, mark.hash):
        wrong = [Wrong(partition, str(mark), f"the watermark is not the last entry {head}")]
    if start.position == START.position:
        wrong += derived(connection, partition)
    if wrong:  # the head is not at the mark
        head = msgspec.structs.replace(mark, totals=between(connection, partition, START.position, mark.position))
    sums = head.totals.sums
    sums.held = _held(connection, partition)
    expected, formula = held_by(sums)
    if expected != sums.held:
        wrong.append(Wrong(partition, "coins", f"{formula} is not held {sums.held}"))
    return Verified(wrong, sums, head)


def follow(
    connection: Connection, partition: int, start: Head, up_to: Position, most: int | None = None
) -> tuple[list[Wrong], Head]:
    """Verify the rows after `start`, at most so many. Returns what is wrong, and the head that was reached."""
    wrong, reached = _chain(connection, partition, start, up_to, most)
    wrong += _unbalanced(connection, partition, start.position, reached.position)
    more = between(connection, partition, start.position, reached.position)
    return wrong, msgspec.structs.replace(reached, totals=start.totals.plus(more))


def derived(connection: Connection, partition: int) -> list[Wrong]:
    """Verify what is derived from all rows of a partition."""
    return _drifted(connection, partition)


def _chain(
    connection: Connection, partition: int, start: Head, up_to: Position, most: int | None
) -> tuple[list[Wrong], Head]:
    """Recompute the hashes from where the last run verified them."""
    epoch, n, last = start.epoch, start.n, start.hash
    query = (
        select(entries)
        .where(within(entries, partition, start.position, up_to))
        .order_by(entries.c.epoch, entries.c.n)
        .limit(most)
    )
    for row in connection.execute(query.execution_options(yield_per=limits.AUDIT_ROWS)):
        follows = row.n == n + 1 if row.epoch == epoch else row.n == 0
        digest = chain(last, partition, row, row.body.encode())
        if not follows or digest != row.hash:
            what = "the hash does not follow" if follows else f"follows {epoch}-{n}"
            return [Wrong(partition, f"{row.epoch}-{row.n}", what)], Head(epoch, n, last)
        epoch, n, last = row.epoch, row.n, digest
    return [], Head(epoch, n, last)


def _unbalanced(connection: Connection, partition: int, after: Position, up_to: Position) -> list[Wrong]:
    """Find entries in a range whose postings do not sum to zero in an asset."""
    query = (
        select(postings.c.epoch, postings.c.n, postings.c.asset, func.sum(postings.c.amount).label("total"))
        .where(within(postings, partition, after, up_to))
        .group_by(postings.c.epoch, postings.c.n, postings.c.asset)
        .having(func.sum(postings.c.amount) != 0)
        .limit(limits.AUDIT_WRONG_MAX)
    )
    return [
        Wrong(partition, f"{row.epoch}-{row.n}", f"postings of {row.asset} sum to {row.total}")
        for row in connection.execute(query)
    ]


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
