"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Select, and_, case, func, select
from sqlalchemy.exc import DBAPIError

from server import limits
from server.entries import KINDS
from server.journal.findings import Wrong
from server.journal.heads import START, Head
from server.journal.log import Position
from server.journal.rederive import END, rederive
from server.journal.sums import Sums, held_by
from server.journal.tables import entries, missing, positions, postings, watermarks
from server.journal.totals import between


class Verified(Struct, frozen=True):
    """A partition's journal as one transaction saw it. `head` is None when the partition has no watermark."""

    wrong: list[Wrong]
    sums: Sums
    head: Head | None


def verify(connection: Connection, partition: int, start: Head = START) -> Verified:
    """Verify the rows after `start`, and from START also what is derived from all rows. Raises SQLAlchemyError.

    What is below `start` was verified before: counts (`heads`) and slices (`again`) look after it.
    """
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
    wrong, head = follow(connection, partition, start, END)
    if not wrong and (head.position, head.hash) != (mark.position, mark.hash):
        wrong = [Wrong(partition, str(head), f"the watermark is {mark}, not at this last entry")]
    if start.position == START.position:
        wrong += derived(connection, partition)
    if row is None and not wrong:
        return Verified([], Sums(), None)
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
    """Derive the rows after `start` again, at most so many. Returns what is wrong, and the head that was reached."""
    wrong, mark = rederive(connection, partition, start, up_to, most)
    reached = Head(mark.epoch, mark.n, mark.hash)
    more = between(connection, partition, start.position, reached.position)
    return wrong, msgspec.structs.replace(reached, totals=start.totals.plus(more))


def _held(connection: Connection, partition: int) -> int:
    query = select(func.sum(positions.c.balance)).where(_viewers_of(partition))
    return int(connection.execute(query).scalar() or 0)


def _viewers_of(partition: int) -> Any:
    return and_(positions.c.partition == partition, positions.c.account.like("viewer:%"))


def derived(connection: Connection, partition: int) -> list[Wrong]:
    """Find positions that do not follow from all postings, or for creators from the entries that credit them."""
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
