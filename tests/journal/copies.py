"""Copies of a journal: a backup to put back, or another database to take rows from."""

from typing import Any

from sqlalchemy import Engine, delete, insert

from server.journal.database import reading
from server.journal.payouts import payout_acts, withholdings
from server.journal.tables import metadata, rate_cards
from server.journal.unlocked import INSERT_ONLY, unlocked

Copy = dict[str, list[dict[str, Any]]]


def copied(engine: Engine) -> Copy:
    """A backup of the journal: the rows of all tables."""
    with reading(engine).connect() as connection:
        return {
            table.name: [
                dict(row) for row in connection.execute(table.select().order_by(*table.primary_key.columns)).mappings()
            ]
            for table in metadata.sorted_tables
        }


def restored(engine: Engine, copy: Copy) -> None:
    """Put a backup back."""
    with engine.begin() as connection, unlocked(connection, (*INSERT_ONLY, rate_cards, payout_acts, withholdings)):
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
            if rows := copy[table.name]:
                connection.execute(insert(table), rows)
