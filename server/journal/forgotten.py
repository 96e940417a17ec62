"""What SQL keeps of a room as it stands goes with the room. What happened stays: broadcasts, acts of staff, money."""

from collections.abc import Iterable

from sqlalchemy import Engine, delete

from server.journal import catalogues
from server.journal.catalogues import Key
from server.journal.tables import goals, people, room_rules

STANDING = (people, goals, room_rules)


def forget_room(engine: Engine, room_id: str, kinds: Iterable[str], now_ms: int) -> None:
    """Delete decisions about people, goals and rules, and empty the room's catalogues of these kinds.

    An emptied catalogue keeps its row: nodes hear of it by its version. Raises SQLAlchemyError.
    """
    with engine.begin() as connection:
        for table in STANDING:
            connection.execute(delete(table).where(table.c.room_id == room_id))
    for kind in kinds:
        key = Key(kind, room_id)
        if catalogues.read(engine, key).body:
            catalogues.change(engine, key, now_ms, lambda _before: b"")
