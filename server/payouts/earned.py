"""A creator's five numbers within a transaction: what a payout may take."""

from sqlalchemy import Connection, case, func, select

from server import limits
from server.entries import HOLD, PAID, RELEASE, RETURN, WRITE_OFF
from server.journal.earnings import Figures, figures, first_unripe_day
from server.journal.tables import creator_days, entries


def earned(connection: Connection, creator: str, now_ms: int) -> Figures:
    """The creator's numbers now. Who decides by them has locked the books. Raises SQLAlchemyError."""
    days = creator_days.c
    net = days.credited - days.taken_back
    unripe = case((days.gift_day >= first_unripe_day(now_ms), net), else_=0)
    sums = (func.coalesce(func.sum(each), 0) for each in (days.credited, days.taken_back, unripe))
    credited, taken_back, pending = connection.execute(select(*sums).where(days.creator == creator)).one()
    held, paid, borne = taken(connection, creator)
    return figures(creator, int(credited), int(taken_back) - borne, int(pending), held=held, paid=paid)


def taken(connection: Connection, creator: str) -> tuple[int, int, int]:
    """What of a creator's diamonds is held, what is paid, and what of their debt was written off, by the books."""
    query = select(entries.c.kind, func.sum(entries.c.diamonds)).group_by(entries.c.kind)
    query = query.where(entries.c.partition == limits.BOOKS, entries.c.creator_id == creator)
    sums = {kind: int(total) for kind, total in connection.execute(query)}
    hold, release, paid, returned, borne = (sums.get(each.name, 0) for each in (HOLD, RELEASE, PAID, RETURN, WRITE_OFF))
    return hold - release - paid, paid - returned, borne
