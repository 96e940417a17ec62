"""What a few statements see of many partitions at once, so that an audit asks nothing more of those without news.

Most partitions of a small journal are empty, and most of a large one have little that is new.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, Connection, Integer, Table, column, exists, func, select, tuple_, values

from server import limits
from server.journal.heads import START, Head
from server.journal.log import Position
from server.journal.tables import entries, legs, positions, watermarks

BEGIN, END = (-(2**62), 0), (2**62, 0)  # before and after every log id: nobody can hide a row there


class Seen(Struct, frozen=True):
    """A partition as one transaction saw it. `mark` is its watermark, or None.

    Rows are counted up to one more than are read at a time: if there are few, no cursor is needed.
    """

    mark: Head | None
    entries: int  # after the head
    legs: int
    positions: int
    held: int  # the coins of its viewers' positions


def after_of(start: Head) -> Position:
    """The log id after which rows are verified; from START it is before every row."""
    return BEGIN if start.position == START.position else start.position


def see(connection: Connection, starts: Mapping[int, Head]) -> dict[int, Seen]:
    """Look at these partitions, which are verified up to these heads. Raises SQLAlchemyError."""
    query = select(positions.c.partition, func.count(), _VIEWERS_COINS).where(positions.c.partition.in_(starts))
    held = {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query.group_by(positions.c.partition))}
    found = {}
    for partition, epoch, n, hash_, rows, stored in connection.execute(_marks_and_news(starts)):
        mark = None if hash_ is None else Head(epoch, n, hash_)
        found[partition] = Seen(mark, rows, stored, *held.get(partition, (0, 0)))
    return found


def _marks_and_news(starts: Mapping[int, Head]) -> Any:
    rows = [(partition, *after_of(start)) for partition, start in starts.items()]
    head = values(*_HEAD, name="head").data(rows).cte("heads")
    mark = watermarks.c.epoch, watermarks.c.n, watermarks.c.hash
    news = (_counted(table, head) for table in (entries, legs))
    return select(head.c.partition, *mark, *news).outerjoin_from(
        head, watermarks, watermarks.c.partition == head.c.partition
    )


def _counted(table: Table, head: Any) -> Any:
    after = tuple_(table.c.epoch, table.c.n) > tuple_(*head.c[1:])
    rows = select(table.c.n).where(table.c.partition == head.c.partition, after).correlate(head)
    return select(func.count()).select_from(rows.limit(limits.AUDIT_ROWS + 1).subquery()).scalar_subquery()


_HEAD = column("partition", Integer), column("epoch", BigInteger), column("n", BigInteger)
_VIEWERS_COINS = func.coalesce(func.sum(positions.c.balance).filter(positions.c.account.like("viewer:%")), 0)


def with_positions(connection: Connection) -> set[int]:
    """The partitions that have positions. Raises SQLAlchemyError."""
    return set(connection.execute(_WITH_POSITIONS).scalars())


_EVERY = (
    values(column("partition", Integer), name="each").data([(p,) for p in range(limits.WALLET_PARTITIONS)]).cte("every")
)
_WITH_POSITIONS = select(_EVERY.c.partition).where(exists().where(positions.c.partition == _EVERY.c.partition))
