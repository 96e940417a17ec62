"""The audit's journal side: verifies the SQL rows of a partition against themselves, in one transaction."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from server.journal import accounts
from server.journal.findings import Wrong
from server.journal.heads import START, Head
from server.journal.log import Position
from server.journal.rederive import rederive
from server.journal.seen import END, Seen, see
from server.journal.sums import Sums, held_by
from server.journal.tables import missing
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
    if start.position == START.position and (seen.entries or seen.legs or seen.positions):
        wrong += accounts.differ(connection, partition)
    if mark.position == START.position and not wrong:
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
    more = between(connection, partition, start.position, reached.position, stored=bool(seen.legs))
    return wrong, msgspec.structs.replace(reached, totals=start.totals.plus(more))
