"""What was given in a room, from the journal: what rooms count again when their store has lost it."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select, text

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
    """A part of a gift that a reversal took, when that was ordered, and when the gift was given."""

    gift_id: str
    user_id: str
    kind: str
    reversal: str
    coins: int
    at_ms: int
    given_ms: int
    anonymous: bool


class _Body(Struct, frozen=True):
    gift: str
    count: int
    anonymous: bool = False


class _Text(Struct, frozen=True):
    viewer_name: str = ""
    show: msgspec.Raw = msgspec.Raw(b"")


_BODY, _TEXT = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Text)


def _gifts_of(room_id: str) -> ColumnElement[bool]:
    return and_(entries.c.room_id == room_id, text("entries.kind = 'gift'"))  # as the index entries_by_room says it


def gifts(engine: Engine, room_id: str, since_ms: int) -> Iterator[Given]:
    """The room's gifts since a time, the oldest first. Raises SQLAlchemyError."""
    columns = (entries.c.ref, entries.c.user_id, entries.c.text, entries.c.body, entries.c.coins, entries.c.at_ms)
    query = select(*columns).where(_gifts_of(room_id), entries.c.at_ms >= since_ms).order_by(entries.c.at_ms)
    pages = {"yield_per": limits.GIVEN_BATCH}
    with reading(engine).connect() as connection:
        for ref, user_id, personal, body, coins, at_ms in connection.execute(query, execution_options=pages):
            about, name = _BODY.decode(body), _TEXT.decode(personal).viewer_name if personal else ""
            yield Given(ref, user_id, name, about.anonymous, about.gift, about.count, coins, at_ms)


def taken_back(engine: Engine, room_id: str) -> list[TakenBack]:
    """Everything that reversals took of the room's gifts. Raises SQLAlchemyError."""
    part, order = reversal_parts.c, reversals.c
    gift = and_(entries.c.ref == part.gift, entries.c.user_id == part.user_id, _gifts_of(room_id))
    ordered = and_(order.kind == part.kind, order.ref == part.reversal, order.user_id == part.user_id)
    query = (
        select(
            *(part.gift, part.user_id, part.kind, part.reversal, part.coins),
            *(order.at_ms, entries.c.at_ms, entries.c.body),
        )
        .join(entries, gift)
        .join(reversals, ordered)
    )
    with reading(engine).connect() as connection:
        return [TakenBack(*row[:-1], _BODY.decode(row[-1]).anonymous) for row in connection.execute(query)]


class Before(Struct, frozen=True):
    """What was given before a time, by nobody anonymous: coins by user, the largest gifts, and what of it went back."""

    sums: dict[str, int]
    singles: list[tuple[str, str, int]]  # gift id, user id, coins
    taken_back: list[TakenBack]
    names: dict[str, str]  # of those who gave most


def before(engine: Engine, room_id: str, before_ms: int, largest: int) -> Before:
    """The room's gifts before a time, summed up in SQL: there may be millions. Raises SQLAlchemyError."""
    of_room = (_gifts_of(room_id), entries.c.at_ms < before_ms, entries.c.body.not_like('%"anonymous":true%'))
    coins = func.sum(entries.c.coins)
    by_user = select(entries.c.user_id, coins).where(*of_room).group_by(entries.c.user_id)
    singles = select(entries.c.ref, entries.c.user_id, entries.c.coins).where(*of_room)
    with reading(engine).connect() as connection:
        sums = {user_id: int(total) for user_id, total in connection.execute(by_user)}
        found = connection.execute(singles.order_by(entries.c.coins.desc()).limit(largest))
        most = [(ref, user_id, gave) for ref, user_id, gave in found]
        first = sorted(sums, key=lambda user_id: -sums[user_id])[: limits.PAGE]
        names = {user_id: name_of(connection, room_id, user_id) for user_id in first}
    parts = [part for part in taken_back(engine, room_id) if part.given_ms < before_ms and not part.anonymous]
    return Before(sums, most, parts, names)


def name_of(connection: Connection, room_id: str, user_id: str) -> str:
    """The name with somebody's newest gift; empty if it is erased."""
    query = select(entries.c.text).where(_gifts_of(room_id), entries.c.user_id == user_id)
    newest = connection.execute(query.order_by(entries.c.epoch.desc(), entries.c.n.desc()).limit(1)).scalar()
    return _TEXT.decode(newest).viewer_name if newest else ""


def shown(engine: Engine, room_id: str, gift_id: str) -> bytes | None:
    """A journaled gift's event, without its streak. None if there is none, or its text is erased.

    Raises SQLAlchemyError.
    """
    query = select(entries.c.text).where(entries.c.ref == gift_id, _gifts_of(room_id), entries.c.text.is_not(None))
    with reading(engine).connect() as connection:
        found = connection.execute(query.limit(1)).scalar()
    return None if found is None else bytes(_TEXT.decode(found).show)
