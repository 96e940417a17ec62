"""What was given in a room, from the journal: what rooms count again when their store has lost it."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Engine, and_, select, text

from server import limits
from server.journal.database import reading
from server.journal.tables import entries, reversal_parts, reversals


class Given(Struct, frozen=True):
    """A journaled gift. `name` is the giver's, empty if it is erased."""

    id: str
    user_id: str
    name: str
    anonymous: bool
    gift: str
    count: int
    coins: int
    at_ms: int


class TakenBack(Struct, frozen=True):
    """A part of a gift that a reversal took, and when that was ordered."""

    gift_id: str
    user_id: str
    kind: str
    reversal: str
    coins: int
    at_ms: int


class _Body(Struct, frozen=True):
    gift: str
    count: int
    anonymous: bool = False


class _Text(Struct, frozen=True):
    viewer_name: str = ""


_BODY, _TEXT = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Text)


def _gifts_of(room_id: str) -> ColumnElement[bool]:
    return and_(entries.c.room_id == room_id, text("entries.kind = 'gift'"))  # as the index entries_by_room says it


def gifts(engine: Engine, room_id: str, since_ms: int) -> Iterator[Given]:
    """The room's gifts since a time, the oldest first. Raises SQLAlchemyError."""
    columns = (entries.c.ref, entries.c.user_id, entries.c.text, entries.c.body, entries.c.coins, entries.c.at_ms)
    query = select(*columns).where(_gifts_of(room_id), entries.c.at_ms >= since_ms).order_by(entries.c.at_ms)
    with reading(engine).connect().execution_options(yield_per=limits.GIVEN_BATCH) as connection:
        for ref, user_id, personal, body, coins, at_ms in connection.execute(query):
            about, name = _BODY.decode(body), _TEXT.decode(personal).viewer_name if personal else ""
            yield Given(ref, user_id, name, about.anonymous, about.gift, about.count, coins, at_ms)


def taken_back(engine: Engine, room_id: str) -> list[TakenBack]:
    """Everything that reversals took of the room's gifts. Raises SQLAlchemyError."""
    part, order = reversal_parts.c, reversals.c
    gift = and_(entries.c.ref == part.gift, entries.c.user_id == part.user_id, _gifts_of(room_id))
    ordered = and_(order.kind == part.kind, order.ref == part.reversal, order.user_id == part.user_id)
    query = (
        select(part.gift, part.user_id, part.kind, part.reversal, part.coins, order.at_ms)
        .join(entries, gift)
        .join(reversals, ordered)
    )
    with reading(engine).connect() as connection:
        return [TakenBack(*row) for row in connection.execute(query)]
