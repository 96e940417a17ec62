"""What all journaled reversals took, for the audit's report."""

from msgspec import Struct
from sqlalchemy import Engine, func, select

from server import limits
from server.entries import CHARGEBACK
from server.journal.database import reading
from server.journal.derived import is_entry_of_part
from server.journal.tables import creator_days, entries, reversal_parts


class TakenBack(Struct, frozen=True):
    """What all journaled reversals took of gifts. `coins_charged_back` had been spent before their chargebacks."""

    coins_charged_back: int
    diamonds: int


def taken_back(engine: Engine) -> TakenBack:
    """The sums for the audit's report. Raises SQLAlchemyError."""
    coins = select(func.coalesce(func.sum(reversal_parts.c.coins), 0)).join(entries, is_entry_of_part())
    diamonds = select(func.coalesce(func.sum(creator_days.c.taken_back), 0))
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        charged_back = connection.execute(coins.where(reversal_parts.c.kind == CHARGEBACK.name)).scalar_one()
        return TakenBack(int(charged_back), int(connection.execute(diamonds).scalar_one()))
