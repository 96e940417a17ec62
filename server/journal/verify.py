"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Select, and_, bindparam, case, func, select
from sqlalchemy.exc import DBAPIError

from server import limits
from server.entries import KINDS
from server.journal.findings import Wrong
from server.journal.heads import START, Head
from server.journal.log import Position
from server.journal.rederive import rederive
from server.journal.seen import END, Seen, see
from server.journal.sums import Sums, held_by
from server.journal.tables import entries, missing, positions, postings
from server.journal.totals import between


class Verified(Struct, frozen=True):
    """A partition's journal as one transaction saw it. `head` is None when the partition has no watermark."""

    wrong: list[Wrong]
    sums: Sums
    head: Head | None


def look(connection: Connection, starts: Mapping[int, Head]) -> dict[int, Seen]:
    """See these partitions in few statements, or none when tables are missing. Raises SQLAlchemyError."""
    try:
        return see(connection, starts)
    except DBAPIError:
        connection.rollback()
        if not missing(connection):
            raise
        return {}


def verify(connection: Connection, partition: int, start: Head = START, seen: Seen | None = None) -> Verified:
    """Verify the rows after `start`, and from START also what is derived from all rows. Raises SQLAlchemyError.

    What is below `start` was verified before: counts (`heads`) and slices (`again`) look after it. `seen` is what this
    transaction saw of the partition, if it has looked.
    """
    try:
        return _verify(connection, partition, start, seen or see(connection, {partition: start})[partition])
    except DBAPIError:
        connection.rollback()
        if not (tables := missing(connection)):
            raise
        return Verified([Wrong(partition, table, "the table is missing") for table in tables], Sums(), None)


def _verify(connection: Connection, partition: int, start: Head, seen: Seen) -> Verified:
    mark = seen.mark or START
    wrong, head = follow(connection, partition, start, END, seen)
    if not wrong and (head.position, head.hash) != (mark.position, mark.hash):
        wrong = [Wrong(partition, str(head), f"the watermark is {mark}, not at this last entry")]
    if start.position == START.position and (seen.postings or seen.positions):
        wrong += derived(connection, partition)
    if seen.mark is None and not wrong:
        return Verified([], Sums(), None)
    if wrong:  # the head is not at the mark
        head = msgspec.structs.replace(mark, totals=between(connection, partition, START.position, mark.position))
    sums = head.totals.sums
    sums.held = seen.held
    expected, formula = held_by(sums)
    if expected != sums.held:
        wrong.append(Wrong(partition, "coins", f"{formula} is not held {sums.held}"))
    return Verified(wrong, sums, head)


def follow(
    connection: Connection, partition: int, start: Head, up_to: Position, seen: Seen, *, most: int | None = None
) -> tuple[list[Wrong], Head]:
    """Derive the rows after `start` again, at most so many. Returns what is wrong, and the head that was reached.

    `seen` is what this transaction saw of them.
    """
    wrong, mark = rederive(connection, partition, start, up_to, seen, most=most)
    reached = Head(mark.epoch, mark.n, mark.hash)
    more = between(connection, partition, start.position, reached.position, legs=bool(seen.postings))
    return wrong, msgspec.structs.replace(reached, totals=start.totals.plus(more))


def derived(connection: Connection, partition: int) -> list[Wrong]:
    """Find positions that do not follow from all postings, or for creators from the entries that credit them."""
    held, posted, earned = (_by_account(connection, query, partition) for query in (_HELD, _POSTED, _EARNED))
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


def _posted() -> Select[Any]:
    """Each account's sum of postings as its position counts it: a creator's without what was taken back."""
    amount = postings.c.amount
    counted = case((and_(postings.c.account.like("creator:%"), amount < 0), 0), else_=amount)
    return select(postings.c.account, func.sum(counted)).group_by(postings.c.account)


def _earned() -> Select[Any]:
    """The diamonds of each creator's gifts."""
    crediting = [kind.name for kind in KINDS.values() if kind.credits]
    creator = "creator:" + func.coalesce(entries.c.creator_id, "")
    return (
        select(creator, func.sum(entries.c.diamonds))
        .where(entries.c.kind.in_(crediting))
        .group_by(entries.c.creator_id)
    )


_PARTITION: Any = bindparam("partition")
_HELD = select(positions.c.account, positions.c.balance).where(positions.c.partition == _PARTITION)
_POSTED = _posted().where(postings.c.partition == _PARTITION)
_EARNED = _earned().where(entries.c.partition == _PARTITION)


def _by_account(connection: Connection, query: Select[Any], partition: int) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in connection.execute(query, {"partition": partition})}
