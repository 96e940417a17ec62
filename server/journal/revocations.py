"""Revoked tokens, in SQL: of whom, in which room, and until when they were minted. Nodes keep all of them in memory."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, delete, func, select, update

from server import limits
from server.journal.bulk import insert_once
from server.journal.database import reading
from server.journal.tables import revocations

EVERYWHERE = ""  # in place of a room


class Revocation(NamedTuple):
    """Tokens of this person that were minted up to this time are no longer good, in a room or EVERYWHERE."""

    user_id: str
    room_id: str
    revoked_ms: int


class TooManyRevocations(Exception):
    """As many people as nodes can keep have tokens that may still be good."""


def record(engine: Engine, new: Revocation) -> None:
    """Write it down; a later one of the same person and room stays. Raises TooManyRevocations, SQLAlchemyError."""
    table = revocations.c
    with engine.begin() as connection:
        if insert_once(connection, revocations, new._asdict()):
            count = select(func.count()).select_from(revocations)
            if connection.execute(count).scalar_one() > limits.REVOCATIONS_MAX:
                expired = (
                    new.revoked_ms - limits.TOKEN_TTL_S_MAX * 1000
                )  # none that we signed before then is still good
                connection.execute(delete(revocations).where(table.revoked_ms < expired))
                if connection.execute(count).scalar_one() > limits.REVOCATIONS_MAX:
                    raise TooManyRevocations
            return
        whose = (table.user_id == new.user_id, table.room_id == new.room_id, table.revoked_ms < new.revoked_ms)
        connection.execute(update(revocations).where(*whose).values(revoked_ms=new.revoked_ms))


def since(engine: Engine, ms: int) -> Sequence[Revocation]:
    """Those of this time and later."""
    query = select(revocations).where(revocations.c.revoked_ms >= ms)
    with reading(engine).connect() as connection:
        return [Revocation(*row) for row in connection.execute(query)]
