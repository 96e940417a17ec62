"""Work that is due at a time, in SQL: whichever node comes first takes it for a while, and another if that one dies."""

from typing import NamedTuple

from sqlalchemy import Engine, and_, delete, insert, select, update

from server import limits
from server.journal.database import reading
from server.journal.tables import due_work


class Work(NamedTuple):
    """Something to do: `kind` says who does it; with `room_id` and `ref` it is there once. `data` is the doer's own."""

    kind: str
    room_id: str
    ref: str
    due_at_ms: int
    data: str = ""


def add(engine: Engine, works: list[Work], instead: str = "") -> None:
    """Write down work, unless it is there. What a room has of the kind `instead` goes. Raises SQLAlchemyError."""
    with engine.begin() as connection:
        for room_id in {work.room_id for work in works} if instead else ():
            connection.execute(delete(due_work).where(due_work.c.kind == instead, due_work.c.room_id == room_id))
        for work in works:
            if connection.execute(select(due_work.c.kind).where(_is(work))).first() is None:
                connection.execute(insert(due_work).values(**work._asdict(), lease_ms=0))


def claim(engine: Engine, now_ms: int) -> list[Work]:
    """Take some work that is due, so that nobody else does it meanwhile. Raises SQLAlchemyError."""
    table, taken = due_work.c, []
    due = select(due_work).where(table.due_at_ms <= now_ms, table.lease_ms <= now_ms)
    with reading(engine).connect() as connection:
        found = connection.execute(due.order_by(table.due_at_ms).limit(limits.DUE_BATCH)).all()
    for row in found:
        work = Work(row.kind, row.room_id, row.ref, row.due_at_ms, row.data)
        with engine.begin() as connection:
            lease = update(due_work).where(_is(work), table.lease_ms == row.lease_ms)
            if connection.execute(lease.values(lease_ms=now_ms + limits.DUE_LEASE_MS)).rowcount:
                taken.append(work)
    return taken


def end(engine: Engine, work: Work, again: Work | None) -> None:
    """It is done; or it is due `again`. Raises SQLAlchemyError."""
    as_taken = and_(_is(work), due_work.c.due_at_ms == work.due_at_ms)  # not if somebody has put other work there
    with engine.begin() as connection:
        if again is None:
            connection.execute(delete(due_work).where(as_taken))
        else:
            values = {"due_at_ms": again.due_at_ms, "data": again.data, "lease_ms": 0}
            connection.execute(update(due_work).where(as_taken).values(**values))


def _is(work: Work):  # type: ignore[no-untyped-def]
    table = due_work.c
    return and_(table.kind == work.kind, table.room_id == work.room_id, table.ref == work.ref)
